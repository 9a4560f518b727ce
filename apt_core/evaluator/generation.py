"""Text from a generative head: how it is asked for, and how prompts get to it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from apt_core.data.batch import IGNORED

Batch = Mapping[str, Tensor]


@dataclass(frozen=True)
class GenerationSettings:
    """How text is generated; never sampled."""

    max_new_tokens: int
    num_beams: int = 1
    """1: greedy."""
    length_penalty: float = 1.0
    """Exponent of the length by which a beam's score is divided; for several beams only."""
    no_repeat_ngram_size: int = 0
    """No sequence of so many tokens appears twice; 0: no such rule."""


@dataclass(frozen=True)
class TokenIds:
    """The special tokens that generation needs."""

    pad: int
    eos: int | None

    @classmethod
    def of(cls, tokenizer: Any) -> "TokenIds":
        """Those of a tokenizer; one without a padding token pads with its end token, or 0."""
        eos, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
        return cls(pad=next((i for i in (pad, eos) if i is not None), 0), eos=eos)


def generate(
    model: nn.Module,
    inputs: Batch,
    settings: GenerationSettings,
    tokens: TokenIds,
    *,
    min_new_tokens: int = 0,
    in_step: bool = False,
) -> Tensor:
    """Generate with the key/value cache; nothing but the settings decides how.

    The generation defaults that a pretrained model carries (sampling, lengths, penalties) are put
    aside meanwhile, except for the token that its decoder starts with.

    Args:
        model: a Hugging Face model with a generative head, in evaluation mode.
        inputs: ``input_ids`` and ``attention_mask``; padded on the left for a causal model.
        settings: how.
        tokens: padding and end.
        min_new_tokens: the end token is not allowed before so many.
        in_step: every worker makes as many forward passes as the one that needs most.

    Returns:
        The new tokens, (rows, at most max_new_tokens), padded behind each row's end.
    """
    with _only_ours(model) as start:
        config = _config(settings, tokens, start, min_new_tokens)
        output = cast(Any, model).generate(**inputs, generation_config=config, synced_gpus=in_step)
    is_encoder_decoder = cast(Any, model).config.is_encoder_decoder
    return cast(Tensor, output[:, 1 if is_encoder_decoder else inputs["input_ids"].shape[1] :])


def left_padded_prompts(batch: Batch, pad: int) -> dict[str, Tensor]:
    """The prompts of a causal batch without their targets, moved to the right edge.

    Args:
        batch: right-padded ``input_ids``, ``attention_mask`` and ``labels``; a prompt is what is
            attended to and not to be predicted.
        pad: id of the padding token.

    Returns:
        ``input_ids`` and ``attention_mask`` as wide as the longest prompt.
    """
    is_prompt = batch["attention_mask"].bool() & (batch["labels"] == IGNORED)
    prompts = [row[own] for row, own in zip(batch["input_ids"], is_prompt, strict=True)]
    return {
        "input_ids": _left_padded(prompts, pad),
        "attention_mask": _left_padded([torch.ones_like(prompt) for prompt in prompts], 0),
    }


def _left_padded(rows: list[Tensor], value: int) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(
        rows, batch_first=True, padding_value=value, padding_side="left"
    )


def _config(settings: GenerationSettings, tokens: TokenIds, start: Any, shortest: int) -> Any:
    from transformers import GenerationConfig

    options: dict[str, Any] = {}
    if settings.num_beams > 1:
        options["length_penalty"] = settings.length_penalty
    if settings.no_repeat_ngram_size:
        options["no_repeat_ngram_size"] = settings.no_repeat_ngram_size
    if shortest and tokens.eos is not None:  # without an end every text has full length
        options["min_new_tokens"] = shortest
    return GenerationConfig(
        max_new_tokens=settings.max_new_tokens,
        num_beams=settings.num_beams,
        do_sample=False,
        use_cache=True,
        pad_token_id=tokens.pad,
        eos_token_id=tokens.eos,
        decoder_start_token_id=start,
        **options,
    )


@contextmanager
def _only_ours(model: Any) -> Iterator[int | None]:
    """Put the model's own generation defaults aside; gives the token its decoder starts with."""
    from transformers import GenerationConfig

    theirs = model.generation_config
    start = getattr(theirs, "decoder_start_token_id", None)
    if start is None:
        start = getattr(model.config, "decoder_start_token_id", None)
    model.generation_config = GenerationConfig()
    try:
        yield start
    finally:
        model.generation_config = theirs

"""What the student says to a batch: one predictor per kind of head."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from apt_core.data.batch import IGNORED, model_inputs
from apt_core.evaluator.generation import (
    GenerationSettings,
    TokenIds,
    generate,
    left_padded_prompts,
)
from apt_core.models.trained_modules import TrainedModules
from apt_core.trainer.distributed import world_size

Batch = Mapping[str, Tensor]
Outputs = dict[str, Tensor]


class Predictor(Protocol):
    """Turns batches into one plain value per row."""

    def forward(self, modules: TrainedModules, batch: Batch) -> Outputs:
        """Everything that needs the model; runs inside the engine's forward pass.

        Args:
            modules: the student is asked.
            batch: as the loader gives it.

        Returns:
            Tensors with one row per row of the batch, among them ``losses`` and ``weights``: the
            loss of the split is the sum of the first over the sum of the second.
        """
        ...

    def predictions(self, outputs: Outputs) -> list[Any]:
        """The predicted value of every row.

        Args:
            outputs: what `forward` gave, cut to the rows that count.

        Returns:
            Values that can be pickled, without tensors on a device.
        """
        ...


class ClassificationPredictor:
    """Sequence classification: the class with the highest logit, or the raw score.

    Args:
        regression: whether the only logit is a score.
    """

    def __init__(self, *, regression: bool = False) -> None:
        self.regression = regression

    def forward(self, modules: TrainedModules, batch: Batch) -> Outputs:
        """Logits and loss."""
        outputs = modules.student(**model_inputs(batch))
        return {"logits": outputs.logits, **_mean_loss(outputs.loss, len(batch["labels"]))}

    def predictions(self, outputs: Outputs) -> list[Any]:
        """An int per row, or a float for regression."""
        logits = outputs["logits"]
        values = logits.squeeze(-1).float() if self.regression else logits.argmax(-1)
        return list(values.tolist())


class SpanPredictor:
    """Question answering: start and end logits of every window."""

    def forward(self, modules: TrainedModules, batch: Batch) -> Outputs:
        """Logits and loss."""
        outputs = modules.student(**model_inputs(batch))
        logits = {"start": outputs.start_logits, "end": outputs.end_logits}
        return {**logits, **_mean_loss(outputs.loss, len(batch["input_ids"]))}

    def predictions(self, outputs: Outputs) -> list[Any]:
        """A pair of float32 arrays per window, see `spans.best_spans`."""
        start, end = (outputs[name].float().cpu().numpy() for name in ("start", "end"))
        return list(zip(start, end, strict=True))


@dataclass(frozen=True)
class Generated:
    """What a generative head makes of one row."""

    text: str | None
    """Generated from the prompt, without special tokens and outer white space; None: not asked."""
    num_tokens: int
    """Tokens of the expected text."""
    num_correct: int
    """Those that are the likeliest next token when all before them are given."""


class GenerativePredictor:
    """Sequence-to-sequence and causal heads: generated text, and the expected text token by token.

    Args:
        tokenizer: decodes; gives the padding and end tokens.
        settings: how to generate; None: the expected text is scored, and nothing is generated.
        causal: prompt and expected text stand in one sequence.
    """

    def __init__(
        self, tokenizer: Any, settings: GenerationSettings | None, *, causal: bool
    ) -> None:
        self.tokenizer = tokenizer
        self.settings = settings
        self.causal = causal
        self.tokens = TokenIds.of(tokenizer)

    def forward(self, modules: TrainedModules, batch: Batch) -> Outputs:
        """Loss and hits of the expected text, and generated tokens."""
        inputs = model_inputs(batch)
        labels = inputs.pop("labels")
        model: Any = modules.student
        if self.causal:
            logits = model(**inputs, use_cache=False).logits[:, :-1]
            expected = labels[:, 1:]
        else:
            begun = model.prepare_decoder_input_ids_from_labels(labels=labels)
            logits = model(**inputs, decoder_input_ids=begun, use_cache=False).logits
            expected = labels
        outputs = _token_scores(logits, expected)
        if self.settings is not None:
            prompts = left_padded_prompts(batch, self.tokens.pad) if self.causal else inputs
            outputs["generated"] = generate(
                model, prompts, self.settings, self.tokens, in_step=world_size() > 1
            )
        return outputs

    def predictions(self, outputs: Outputs) -> list[Any]:
        """A `Generated` per row."""
        counts = zip(outputs["weights"].tolist(), outputs["hits"].tolist(), strict=True)
        texts: list[str | None] = [None] * len(outputs["weights"])
        if "generated" in outputs:
            decoded = self.tokenizer.batch_decode(outputs["generated"], skip_special_tokens=True)
            texts = [text.strip() for text in decoded]
        return [
            Generated(text, int(num_tokens), int(num_correct))
            for text, (num_tokens, num_correct) in zip(texts, counts, strict=True)
        ]


def make_predictor(
    head_kind: str,
    *,
    tokenizer: Any,
    regression: bool = False,
    generation: GenerationSettings | None = None,
) -> Predictor:
    """The predictor of a head.

    Args:
        head_kind: ``sequence_classification``, ``question_answering``, ``seq2seq_lm`` or
            ``causal_lm``.
        tokenizer: of the model; classification and question answering do without.
        regression: whether a sequence classification head gives a score.
        generation: how a generative head writes; None: it does not, see `scorers.needs_text`.

    Returns:
        A new predictor.

    Raises:
        ValueError: the head kind is unknown.
    """
    if head_kind == "sequence_classification":
        return ClassificationPredictor(regression=regression)
    if head_kind == "question_answering":
        return SpanPredictor()
    if head_kind in {"seq2seq_lm", "causal_lm"}:
        return GenerativePredictor(tokenizer, generation, causal=head_kind == "causal_lm")
    raise ValueError(f"unknown head kind {head_kind!r}")


def _mean_loss(loss: Tensor, num_rows: int) -> Outputs:
    """The model's mean over rows, as rows."""
    losses = loss.detach().float().expand(num_rows)
    return {"losses": losses, "weights": torch.ones_like(losses)}


def _token_scores(logits: Tensor, expected: Tensor) -> Outputs:
    """Per row: summed loss, number of expected tokens, how many of them are the likeliest.

    Row by row, because float32 logits of a whole batch over a large vocabulary take gigabytes.
    """
    is_expected = expected != IGNORED
    losses = [
        F.cross_entropy(row.float(), labels, ignore_index=IGNORED, reduction="sum")
        for row, labels in zip(logits, expected, strict=True)
    ]
    hits = (logits.argmax(-1) == expected) & is_expected
    return {"losses": torch.stack(losses), "weights": is_expected.sum(-1), "hits": hits.sum(-1)}

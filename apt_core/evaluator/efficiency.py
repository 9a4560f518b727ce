"""What a model costs: multiply-accumulates by arithmetic, latency and throughput by measurement."""

import copy
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from apt_core.adapters.merge import merge_adapters
from apt_core.data.batch import model_inputs
from apt_core.evaluator.generation import (
    GenerationSettings,
    TokenIds,
    generate,
    left_padded_prompts,
)
from apt_core.evaluator.memory import current_memory_gib, peak_memory_gib, reset_peak_memory
from apt_core.evaluator.turns import times_in_turns
from apt_core.models.structure import Structure
from apt_core.pruner.cost import MacCost
from apt_core.report import InferencePoint

Batch = Mapping[str, Tensor]
NUM_NEW_TOKENS = 32
"""Tokens that every row gets when generation is timed."""
_EXPECTED = frozenset({"labels", "start_positions", "end_positions"})


def macs_per_sample(structure: Structure, num_tokens: float, target_tokens: float = 0.0) -> int:
    """Multiply-accumulates of the layers for one sample, see `MacCost`.

    Args:
        structure: the model's shape.
        num_tokens: mean length of the evaluation set's inputs.
        target_tokens: mean length of what a decoder beside an encoder writes.

    Returns:
        The count, rounded.
    """
    return round(MacCost(num_tokens, target_tokens).total(structure))


def merged_copy(student: nn.Module) -> nn.Module:
    """The model as it will be served: adapters folded in, in evaluation mode.

    Args:
        student: a plain, unmasked task model; left alone.

    Returns:
        A copy made of stock layers.
    """
    return merge_adapters(copy.deepcopy(student)).eval()


@torch.no_grad()
def measure_inference(
    model: nn.Module,
    dense: nn.Module,
    batches: Sequence[Batch],
    *,
    warmup: int,
    repeats: int,
) -> InferencePoint:
    """Latency of a model and of its dense original on the same real batches, taken in turns.

    Args:
        model: the merged, sliced model.
        dense: the unpruned model.
        batches: real batches of one size, on the model's device.
        warmup: forward passes of each before the clock starts.
        repeats: timed passes of each; the median counts.

    Returns:
        The measurement.
    """
    latency, dense_latency = medians_in_turns(
        [(partial(model, **batch), partial(dense, **batch)) for batch in batches], warmup, repeats
    )
    batch_size = len(batches[0]["input_ids"])
    return InferencePoint(
        batch_size=batch_size,
        latency_ms=1000 * latency,
        throughput_samples_per_s=batch_size / latency,
        peak_memory_gib=_own_peak_memory_gib(model, batches),
        dense_latency_ms=1000 * dense_latency,
    )


@dataclass(frozen=True)
class GenerationSpeed:
    """New tokens of all rows per second."""

    tokens_per_s: float
    dense_tokens_per_s: float


@torch.no_grad()
def measure_generation(
    model: nn.Module,
    dense: nn.Module,
    prompts: Sequence[Batch],
    *,
    tokens: TokenIds,
    warmup: int,
    repeats: int,
    num_new_tokens: int = NUM_NEW_TOKENS,
) -> GenerationSpeed:
    """How fast a model and its dense original write, on the same prompts, taken in turns.

    Greedy, with the key/value cache; every row gets exactly `num_new_tokens`, whatever it says.

    Args:
        model: the merged, sliced model.
        dense: the unpruned model.
        prompts: batches of one size, see `prompt_inputs`.
        tokens: of the tokenizer.
        warmup: texts of each before the clock starts.
        repeats: timed texts of each; the median counts.
        num_new_tokens: length of a text.

    Returns:
        The measurement.
    """
    settings = GenerationSettings(max_new_tokens=num_new_tokens)

    def write(writer: nn.Module, prompt: Batch) -> Tensor:
        return generate(writer, prompt, settings, tokens, min_new_tokens=num_new_tokens)

    seconds = medians_in_turns(
        [(partial(write, model, prompt), partial(write, dense, prompt)) for prompt in prompts],
        warmup,
        repeats,
    )
    count = num_new_tokens * len(prompts[0]["input_ids"])
    return GenerationSpeed(*(count / taken for taken in seconds))


def forward_inputs(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """What one forward pass for prediction takes: the batch without what is to be predicted.

    Args:
        model: tells whether it has a decoder.
        batch: as the loader gives it.

    Returns:
        The inputs; for an encoder-decoder with the decoder's, made from the labels.
    """
    inputs = {n: t for n, t in model_inputs(batch).items() if n not in _EXPECTED}
    if _has_decoder(model):
        begun = cast(Any, model).prepare_decoder_input_ids_from_labels(labels=batch["labels"])
        inputs["decoder_input_ids"] = begun
    return inputs


def prompt_inputs(model: nn.Module, batch: Batch, tokens: TokenIds) -> dict[str, Tensor]:
    """What generation takes: the prompts, of a causal model without the expected text.

    Args:
        model: tells whether it has a decoder of its own.
        batch: as the loader gives it.
        tokens: of the tokenizer.

    Returns:
        ``input_ids`` and ``attention_mask``.
    """
    if _has_decoder(model):
        return {name: batch[name] for name in ("input_ids", "attention_mask")}
    return left_padded_prompts(batch, tokens.pad)


def _has_decoder(model: nn.Module) -> bool:
    return bool(getattr(model.config, "is_encoder_decoder", False))


def medians_in_turns(
    pairs: Sequence[tuple[Callable[[], object], Callable[[], object]]], warmup: int, repeats: int
) -> tuple[float, float]:
    """Median seconds of the first and of the second calls, going through the pairs in turn.

    Args:
        pairs: two calls each, to be compared.
        warmup: pairs that are called before the clock starts.
        repeats: pairs that are timed.

    Returns:
        Both medians.
    """
    own, other = times_in_turns(pairs, warmup=warmup, repeats=repeats)
    return statistics.median(own), statistics.median(other)


def _own_peak_memory_gib(model: nn.Module, batches: Sequence[Batch]) -> float:
    """The model's weights and the most that a forward pass adds; its dense twin does not count."""
    tensors = (*model.parameters(), *model.buffers())
    weights = sum(t.numel() * t.element_size() for t in tensors)
    reset_peak_memory()
    before = current_memory_gib()
    for batch in batches:
        model(**batch)
    return weights / 1024**3 + peak_memory_gib() - before

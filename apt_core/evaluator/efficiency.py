"""What a model costs: multiply-accumulates by arithmetic, latency and throughput by measurement."""

import copy
import statistics
import time
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from apt_core.adapters.merge import merge_adapters
from apt_core.evaluator.memory import current_memory_gib, peak_memory_gib, reset_peak_memory
from apt_core.models.structure import Structure
from apt_core.report import InferencePoint

Batch = Mapping[str, Tensor]


def macs_per_sample(structure: Structure, num_tokens: float) -> int:
    """Multiply-accumulates of the layers for one sample of `num_tokens` tokens.

    Per head 4 S d d_h + 2 S^2 d_h, per neuron 2 S d (gated: 3 S d); embeddings and head excluded.

    Args:
        structure: the model's shape.
        num_tokens: S, the mean length of the evaluation set.

    Returns:
        The count, rounded.
    """
    total = 0.0
    for s in structure.sub_blocks:
        total += s.num_units * s.per_unit_per_dim * structure.hidden_size * num_tokens
        if s.kind == "attention":
            total += s.num_units * 2 * num_tokens**2 * s.unit_width
    return round(total)


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
    for i in range(warmup):
        _seconds(model, batches[i % len(batches)])
        _seconds(dense, batches[i % len(batches)])
    own, other = [], []
    for i in range(repeats):
        batch = batches[i % len(batches)]
        own.append(_seconds(model, batch))
        other.append(_seconds(dense, batch))
    latency = statistics.median(own)
    batch_size = len(batches[0]["input_ids"])
    return InferencePoint(
        batch_size=batch_size,
        latency_ms=1000 * latency,
        throughput_samples_per_s=batch_size / latency,
        peak_memory_gib=_own_peak_memory_gib(model, batches),
        dense_latency_ms=1000 * statistics.median(other),
    )


def _own_peak_memory_gib(model: nn.Module, batches: Sequence[Batch]) -> float:
    """The model's weights and the most that a forward pass adds; its dense twin does not count."""
    tensors = (*model.parameters(), *model.buffers())
    weights = sum(t.numel() * t.element_size() for t in tensors)
    reset_peak_memory()
    before = current_memory_gib()
    for batch in batches:
        model(**batch)
    return weights / 1024**3 + peak_memory_gib() - before


def _seconds(model: nn.Module, batch: Batch) -> float:
    _synchronize()
    start = time.perf_counter()
    model(**batch)
    _synchronize()
    return time.perf_counter() - start


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()

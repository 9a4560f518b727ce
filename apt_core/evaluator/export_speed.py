"""How fast an export is beside the unpruned model, on this device."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from apt_core.evaluator.efficiency import medians_in_turns

Batch = Mapping[str, Tensor]
Answer = Callable[[Batch], object]


@dataclass(frozen=True)
class SpeedPoint:
    """Latency of one forward pass of both models at one batch size."""

    batch_size: int
    latency_ms: float
    dense_latency_ms: float

    @property
    def speedup(self) -> float:
        """Dense latency over this model's."""
        return self.dense_latency_ms / self.latency_ms


@torch.no_grad()
def measure_speed(
    answer: Answer, dense: Answer, batches: Sequence[Batch], *, warmup: int, repeats: int
) -> SpeedPoint:
    """Median latency of two models on the same batches, taken in turns.

    Args:
        answer: the export.
        dense: the unpruned model.
        batches: real batches of one size, on the models' device.
        warmup: passes of each before the clock starts.
        repeats: timed passes of each.

    Returns:
        The measurement.
    """
    pairs = [(partial(answer, batch), partial(dense, batch)) for batch in batches]
    own, other = medians_in_turns(pairs, warmup, repeats)
    return SpeedPoint(len(batches[0]["input_ids"]), 1000 * own, 1000 * other)


def slow_points(points: Sequence[SpeedPoint], device: str) -> tuple[str, ...]:
    """A sentence for every batch size at which an export is not faster than the unpruned model.

    Args:
        points: what was measured.
        device: where, for the sentence.

    Returns:
        The sentences; none where it is always faster.
    """
    return tuple(
        f"not faster than the unpruned model at batch size {p.batch_size} on {device}: "
        f"{p.latency_ms:.2f} ms against {p.dense_latency_ms:.2f} ms"
        for p in points
        if p.speedup <= 1.0
    )

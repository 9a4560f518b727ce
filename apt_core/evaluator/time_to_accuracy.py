"""Time-to-accuracy as pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass

from apt_core.report import EvalPoint


@dataclass(frozen=True)
class TimeToAccuracy:
    """When a training first was good enough."""

    step: int
    metric: float
    train_time_s: float
    """Training time up to this point, evaluations excluded."""
    total_time_s: float
    """Training and evaluation time up to this point."""


def accuracy_target(baseline: Sequence[EvalPoint], fraction: float = 0.97) -> float | None:
    """The metric to reach: `fraction` of the best of full fine-tuning; None without evaluations."""
    return fraction * max(point.metric for point in baseline) if baseline else None


def time_to_accuracy(
    points: Sequence[EvalPoint],
    target: float,
    *,
    sparsity_target: float | None = None,
    tolerance: float = 1e-3,
) -> TimeToAccuracy | None:
    """The first evaluation that reached the target metric (in the paper: 97% TTA).

    The metric is rounded to 3 decimals before the comparison, as in the paper's experiments.
    Deviation from the paper: the time is given both with and without the evaluations; the paper's
    wall clock includes them.

    Args:
        points: Evaluations of one training in the order in which they happened.
        target: Metric to reach, see `accuracy_target`.
        sparsity_target: If given, evaluations before the model was that sparse do not count.
        tolerance: Sparsity that may be missing.

    Returns:
        The point in time, or None if the training never got there.
    """
    for point in points:
        is_sparse_enough = sparsity_target is None or point.sparsity >= sparsity_target - tolerance
        if is_sparse_enough and round(point.metric, 3) >= target:
            total_time_s = point.train_time_s + point.eval_time_s
            return TimeToAccuracy(point.step, point.metric, point.train_time_s, total_time_s)
    return None

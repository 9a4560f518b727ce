"""Turn a run's state into the numbers that are logged."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from apt_core.distiller.self_distiller import Loss
from apt_core.models.structure import Structure
from apt_core.models.surgery_record import Surgery
from apt_core.pruner.policy import PrunePlan
from apt_core.report import PARAMETERS, RunReport
from apt_core.trainer.distributed import worker_means
from apt_core.trainer.engine import StepOutcome
from apt_core.trainer.state import TrainerState

SPARSITY_TOLERANCE = 0.01


def shape_metrics(state: TrainerState) -> dict[str, float]:
    """Sparsity, density, hidden size, heads, neurons and ranks as metrics."""
    structure = state.structure
    ranks = list(structure.ranks.values())
    return {
        "model/sparsity": state.sparsity,
        "model/density": 1.0 - state.sparsity,
        "model/hidden_size": structure.hidden_size,
        "model/num_heads": sum(s.num_heads for s in structure.sub_blocks),
        "model/num_neurons": sum(s.num_units for s in structure.of_kind("ffn")),
        "model/rank_mean": statistics.fmean(ranks) if ranks else 0.0,
        "model/adapter_params": structure.num_adapter_params(),
    }


def surgery_entry(
    state: TrainerState, surgery: Surgery, seconds: float, plan: PrunePlan | None = None
) -> Mapping[str, Any]:
    """One line of a run's history of surgeries, JSON-able.

    Args:
        state: the run's state after the surgery.
        surgery: what was done.
        seconds: how long it took.
        plan: which blocks stay and why, where that was decided beforehand.

    Returns:
        Step, shape before and after, what happened.
    """
    before, after = surgery.structure_before, surgery.structure_after
    entry = {
        "step": state.step,
        "seconds": seconds,
        "sparsity": state.sparsity,
        **_shape_of(after),
        "ranks": dict(after.ranks),
        "before": {**_shape_of(before), "ranks": dict(before.ranks)},
        "pruned": surgery.kept is not None,
        "grown": len(surgery.rank_changes),
        "teacher_changed": surgery.teacher_changed,
        "has_teacher": state.has_teacher,
    }
    return entry | ({"border": plan.border} if plan is not None and plan.border else {})


def _shape_of(structure: Structure) -> dict[str, Any]:
    return {
        "hidden_size": structure.hidden_size,
        "heads": [s.num_heads for s in structure.of_kind("attention")],
        "neurons": [s.num_units for s in structure.of_kind("ffn")],
    }


def median_step_times(state: TrainerState) -> dict[str, float]:
    """Median seconds of a step by phase."""
    return {phase: statistics.median(times) for phase, times in state.step_times.items() if times}


def warnings_of(report: RunReport) -> tuple[str, ...]:
    """What a reader of the report should know before its numbers.

    Args:
        report: all but its warnings.

    Returns:
        One sentence each.
    """
    warnings = []
    reached, target = report.cost_sparsity, report.target_sparsity
    if abs(reached - target) > SPARSITY_TOLERANCE:
        counted = "" if report.cost_unit == PARAMETERS else f" in {report.cost_unit}"
        warnings.append(f"sparsity{counted} {reached:.3f} misses its target {target:.3f}")
    points = report.efficiency.inference
    slow = [p.batch_size for p in points if target > 0 and p.speedup <= 1.0]
    if slow:
        warnings.append(f"not faster than the dense model at batch size {slow}")
    return tuple(warnings)


def step_metrics(
    losses: Sequence[Loss], outcome: StepOutcome, learning_rate: float
) -> dict[str, float]:
    """The numbers of one optimizer step; with several workers all of them have to call it.

    Args:
        losses: of this worker's micro-batches, each weighted by its share in the step.
        outcome: what the engine says about it.
        learning_rate: the rate it was made with.

    Returns:
        Metrics by name.
    """

    def mean(values: Sequence[Tensor]) -> float:
        return sum(float(value.detach()) for value in values) / len(values)

    means = {
        "train/loss": mean([loss.total for loss in losses]),
        "train/loss_task": mean([loss.task for loss in losses]),
        "train/loss_distill": mean([loss.distill for loss in losses]),
        **{f"train/{name}": mean([loss.more[name] for loss in losses]) for name in losses[0].more},
    }
    return {
        **worker_means(means),
        "train/mu": losses[0].mu,
        "train/learning_rate": learning_rate,
        "train/grad_norm": outcome.grad_norm,
        "train/loss_scale": outcome.loss_scale,
    }

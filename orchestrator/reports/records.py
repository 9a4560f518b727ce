"""What a sweep's folder holds, as frozen values: reports, trials without one, curves, settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from apt_core.config.arms import Ablation, arm_switches
from apt_core.report import EvalPoint, RunReport
from orchestrator.goodput import Goodput

UNPRUNED_ARMS = frozenset({"ft", "lora"})
UNPRUNED_ABLATIONS = frozenset(
    name for name in get_args(Ablation) if not arm_switches("apt", name).prune
)

Settings = Mapping[str, Any]
"""A resolved config as dotted keys, e.g. ``training.learning_rate``."""


@dataclass(frozen=True)
class CellKey:
    """What the runs of one table row share; they differ in the seed only."""

    arm: str
    ablation: str
    target_sparsity: float
    """0 where nothing is pruned, whatever the config's default says."""
    model: str
    dataset: str
    variant: tuple[tuple[str, Any], ...] = ()
    """Other settings that tell this cell from its neighbours, as (dotted key, value)."""
    variant_name: str = field(default="", compare=False)
    """A letter that stands for the variant where writing it out would take too much room."""

    @property
    def is_full(self) -> bool:
        """True unless a part of the method is switched off."""
        return self.ablation == "full"


@dataclass(frozen=True)
class UnfinishedTrial:
    """A trial without a readable ``result.json``, and why."""

    run_id: str
    state: str
    """``failed``, ``killed``, ``running``, ``pending`` or ``unreadable``."""
    reason: str
    cell: CellKey | None
    """None when not even the trial's config can be read."""
    seed: int | None = None
    last_step: int | None = None


@dataclass(frozen=True)
class ShapePoint:
    """The model's shape at one logged step."""

    step: int
    sparsity: float
    rank_mean: float | None
    hidden_size: float | None = None


@dataclass(frozen=True)
class Curves:
    """What a run logged over its steps."""

    evals: tuple[EvalPoint, ...] = ()
    shape: tuple[ShapePoint, ...] = ()
    """Change points only: the shape is constant between two of them."""
    losses: tuple[tuple[int, float], ...] = ()
    """(step, training loss) of every logged step; of long runs means over stretches."""
    last_step: int | None = None


@dataclass(frozen=True)
class SweepRecords:
    """Everything a report is made of. One broken trial costs a warning only."""

    name: str
    reports: tuple[RunReport, ...] = ()
    unfinished: tuple[UnfinishedTrial, ...] = ()
    warnings: tuple[str, ...] = ()
    settings: Mapping[str, Settings] = field(default_factory=dict)
    """run_id -> its resolved config, where that could be read."""
    curves: Mapping[str, Curves] = field(default_factory=dict)
    """run_id -> what it logged."""
    goodput: Goodput | None = None
    """Where the sweep's time went, where traces tell."""

    @property
    def order(self) -> tuple[str, ...]:
        """All run ids in the order in which they were read; finished ones first where unknown."""
        known = tuple(self.curves)
        ids = [run.run_id for run in self.reports] + [trial.run_id for trial in self.unfinished]
        return (*known, *(run_id for run_id in ids if run_id not in self.curves))

    @property
    def num_trials(self) -> int:
        """Trials that left a folder, finished or not."""
        return len(self.reports) + len(self.unfinished)


def effective_target(arm: str, ablation: str, target_sparsity: float) -> float:
    """The sparsity that a run aims at: 0 for arms and ablations that remove nothing."""
    prunes = arm not in UNPRUNED_ARMS and ablation not in UNPRUNED_ABLATIONS
    return target_sparsity if prunes else 0.0


def cell_of_report(report: RunReport) -> CellKey:
    """The cell of a finished run, without its variant."""
    target = effective_target(report.arm, report.ablation, report.target_sparsity)
    return CellKey(report.arm, report.ablation, target, report.model, report.dataset)


def cell_of_settings(settings: Settings) -> CellKey:
    """The cell of a run that only left its config; KeyError when the config lacks a part of it."""
    arm, ablation = str(settings["arm"]), str(settings["ablation"])
    target = effective_target(arm, ablation, float(settings["pruning.target_sparsity"]))
    model, dataset = str(settings["model.model_type"]), str(settings["data.dataset"])
    return CellKey(arm, ablation, target, model, dataset)

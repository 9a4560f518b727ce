"""The rows and tables of a report as frozen values, their names and their order (PURE)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from string import ascii_uppercase
from typing import get_args

from apt_core.config.arms import Ablation
from apt_core.report import RunReport
from orchestrator.reports.grid import slug
from orchestrator.reports.paired import PairedDifference
from orchestrator.reports.records import CellKey, UnfinishedTrial
from orchestrator.reports.settings import text_of
from orchestrator.reports.stat import NOTHING, Stat

ARM_ORDER = (
    "ft",
    "lora",
    "lora_prune",
    "prune_distill",
    "lora_prune_distill",
    "llm_pruner",
    "random",
    "magnitude",
    "apt",
)
ABLATION_ORDER = get_args(Ablation)


@dataclass(frozen=True)
class TimeToTarget:
    """Training time until 97% of the baseline's best metric, over the runs that got there."""

    seconds: Stat
    """Evaluation time left out; empty when no run reached the target."""
    seconds_with_eval: Stat
    num_runs: int
    first_seconds: Stat = NOTHING
    """The same as `seconds`, whatever the sparsity was."""
    first_density: Stat = NOTHING
    """How dense the model was then."""
    num_at_target_density: int = 0
    """Runs that were at their target sparsity then."""

    @property
    def num_reached(self) -> int:
        """Runs that reached the target metric at the target sparsity."""
        return self.seconds.n


@dataclass(frozen=True)
class InferenceStat:
    """Inference at one batch size, over the runs of a cell."""

    latency_ms: Stat
    throughput_samples_per_s: Stat
    speedup: Stat
    """Dense latency over this model's, measured side by side; above 1 is faster than dense."""
    peak_memory_gib: Stat


@dataclass(frozen=True)
class Row:
    """One cell of the grid."""

    key: CellKey
    metric_name: str = ""
    runs: tuple[RunReport, ...] = ()
    """The finished runs, by seed."""
    unfinished: tuple[UnfinishedTrial, ...] = ()
    metric: Stat = NOTHING
    sparsity: Stat = NOTHING
    num_layer_params: Stat = NOTHING
    num_total_params: Stat = NOTHING
    num_trainable_params_peak: Stat = NOTHING
    macs_per_sample: Stat = NOTHING
    train_time_s: Stat = NOTHING
    """The teacher's included, where another run has trained it."""
    teacher_time_s: Stat = NOTHING
    """The teacher's alone; empty where there is none from outside."""
    eval_time_s: Stat = NOTHING
    peak_train_memory_gib: Stat = NOTHING
    peak_memory_by_phase_gib: Mapping[str, Stat] = field(default_factory=dict)
    """Phase (tuning, pruning, distilling, retraining) -> peak training memory."""
    step_time_ratio: Stat = NOTHING
    """Median step time after the last surgery over that of the first steps."""
    inference: Mapping[int, InferenceStat] = field(default_factory=dict)
    """Batch size -> inference."""
    searched: tuple[tuple[str, str], ...] = ()
    """What a search has chosen for this row: (dotted key, value)."""
    num_tries: int = 1
    """How many values were tried for it, by their score on the held-out rows."""
    is_baseline: bool = False
    has_baseline: bool = False
    ratio_to_baseline: float | None = None
    """Mean metric over the baseline's mean metric; None without a baseline."""
    difference_to_baseline: float | None = None
    """Mean metric minus the baseline's, in the metric's own unit."""
    versus_baseline: PairedDifference | None = None
    """The metric against the baseline's, seed by seed; None without a baseline."""
    memory_vs_ft: Stat = NOTHING
    """Peak training memory over the mean of full fine-tuning's."""
    memory_vs_lora: Stat = NOTHING
    """Peak training memory over the mean of LoRA's."""
    time_to_target: TimeToTarget | None = None
    """None without a baseline, or when no run kept its evaluations."""
    marks: tuple[str, ...] = ()
    """What to mind before believing the row, in a few words each."""

    @property
    def density(self) -> Stat:
        """1 - sparsity."""
        return Stat(tuple(1.0 - value for value in self.sparsity.values))

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The finished runs."""
        return tuple(run.run_id for run in self.runs)

    @property
    def anchor(self) -> str:
        """Where the report tells how to run the row again."""
        return slug(f"runs-{self.key.model}-{self.key.dataset}-{label_of(self.key)}")

    @property
    def metric_by_seed(self) -> dict[int, float]:
        """Seed -> metric; the mean where a seed ran more than once."""
        by_seed: dict[int, list[float]] = {}
        for run in self.runs:
            by_seed.setdefault(run.seed, []).append(run.metric)
        return {seed: fmean(values) for seed, values in by_seed.items()}

    @property
    def num_trials(self) -> int:
        """Trials of this cell, finished or not."""
        return len(self.runs) + len(self.unfinished)

    @property
    def state(self) -> str:
        """``finished`` with at least one result, else the states of its trials."""
        if self.runs:
            return "finished"
        return ", ".join(sorted({trial.state for trial in self.unfinished}))


@dataclass(frozen=True)
class TaskTable:
    """The rows of one (model, dataset), in order."""

    model: str
    dataset: str
    rows: tuple[Row, ...]
    target_metrics: tuple[float, ...] = ()
    """The metric values that time to accuracy is measured to: one per baseline cell."""

    @property
    def title(self) -> str:
        """Model and dataset."""
        return f"{self.model} on {self.dataset}"

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """Inference batch sizes that any row measured."""
        return tuple(sorted({size for row in self.rows for size in row.inference}))

    @property
    def variants(self) -> tuple[tuple[str, str], ...]:
        """What the letters in the rows' labels stand for: (letter, settings)."""
        named = [row.key for row in self.rows if row.key.variant_name]
        return tuple(sorted({(key.variant_name, _variant_text(key, ", ")) for key in named}))

    @property
    def metric_name(self) -> str:
        """The metric of this dataset."""
        return next((row.metric_name for row in self.rows if row.metric_name), "metric")


def label_of(key: CellKey) -> str:
    """A short name for a cell within its table: arm, ablation, target sparsity, variant.

    A variant that a letter stands for reads ``[A]``; `TaskTable.variants` says what it is.
    """
    parts = [key.arm if key.is_full else f"{key.arm} {key.ablation}"]
    if key.target_sparsity > 0:
        parts.append(f"{100 * key.target_sparsity:g}%")
    if key.variant_name:
        parts.append(f"[{key.variant_name}]")
    elif key.variant:
        parts.append(_variant_text(key, " "))
    return " ".join(parts)


def variant_settings(key: CellKey) -> str:
    """A cell's variant with whole keys, e.g. ``distillation.temperature=2``; empty without one."""
    return " ".join(f"{name}={text_of(value)}" for name, value in key.variant)


def name_variants(keys: Iterable[CellKey]) -> dict[CellKey, CellKey]:
    """Give every variant of more than one setting a letter; the same one, the same letter.

    Args:
        keys: The cells of one table.

    Returns:
        Each cell with its letter; cells that need none as they are.
    """
    keys = sorted(keys, key=order_of)
    long = dict.fromkeys(key.variant for key in keys if len(key.variant) > 1)
    names = dict(zip(long, map(_letters, range(len(long))), strict=True))
    return {key: replace(key, variant_name=names.get(key.variant, "")) for key in keys}


def _letters(number: int) -> str:
    """A, B, ... Z, AA, AB, ..."""
    rest, last = divmod(number, len(ascii_uppercase))
    return (_letters(rest - 1) if rest else "") + ascii_uppercase[last]


def _variant_text(key: CellKey, separator: str) -> str:
    return separator.join(f"{name.split('.')[-1]}={text_of(value)}" for name, value in key.variant)


def order_of(key: CellKey) -> tuple[object, ...]:
    """Sort key of a row: ft, lora, the other arms, apt by sparsity, ablations."""
    return (
        not key.is_full,
        _position(key.arm, ARM_ORDER),
        _position(key.ablation, ABLATION_ORDER),
        key.target_sparsity,
        tuple((name, text_of(value)) for name, value in key.variant),
    )


def _position(name: str, order: Sequence[str]) -> tuple[int, str]:
    return (order.index(name) if name in order else len(order), name)

"""How a cell of a table in the paper's layout is filled from rows of the sweep (PURE)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from orchestrator.reports.grid import Cell
from orchestrator.reports.published import PaperColumn
from orchestrator.reports.records import Settings
from orchestrator.reports.rows import Row, TaskTable
from orchestrator.reports.stat import NOTHING, Stat
from orchestrator.reports.wording import (
    NOT_MEASURED,
    NOT_REACHED,
    digits_of,
    linked,
    metric_scale,
    number_with_spread,
    with_n,
)

NOT_RUN = "not run"
NO_ARM = "no such arm here"
MIB_PER_GIB = 1024
_BEFORE = "lm_eval_before"
_DIGITS: Mapping[str, int] = {
    "sparsity": 1,
    "time_to_target": 1,
    "train_time_per_epoch": 1,
    "train_memory": 0,
    "latency": 1,
    "inference_memory": 0,
}


@dataclass(frozen=True)
class Sources:
    """Where the cells of one table come from."""

    tables: Sequence[TaskTable]
    settings: Mapping[str, Settings]
    """run_id -> its resolved config."""
    batch_size: int
    """Of inference."""

    def rows(self, model: str, dataset: str) -> list[Row]:
        """The sweep's rows of one model and dataset."""
        return [
            row
            for table in self.tables
            if (table.model, table.dataset) == (model, dataset)
            for row in table.rows
        ]


def cell_of(
    row: Row | None,
    reference: Row | None,
    column: PaperColumn,
    sources: Sources,
    *,
    is_before: bool,
) -> Cell:
    """Fill a cell.

    Args:
        row: The sweep's row; None: not run.
        reference: What ratios are relative to, on the same dataset; None: there is none.
        column: What is shown.
        sources: The sweep.
        is_before: Whether benchmarks of the model before tuning are wanted.

    Returns:
        The cell; never blank.
    """
    if row is None:
        return Cell(NOT_RUN, is_missing=True)
    if not row.runs:
        return Cell(row.state, is_missing=True, anchor=row.anchor)
    own = quantity_of(row, column, sources, is_before=is_before)
    return linked(row, _filled(row, own, reference, column, sources))


def _filled(
    row: Row, own: Stat, reference: Row | None, column: PaperColumn, sources: Sources
) -> Cell:
    if own.mean is None:
        is_late = column.quantity == "time_to_target" and row.time_to_target is not None
        return Cell(NOT_REACHED if is_late else NOT_MEASURED, is_missing=True)
    if column.shown_as == "value":
        return _shown(own, _DIGITS.get(column.quantity, digits_of(row.metric_name)), "")
    base = quantity_of(reference, column, sources, is_before=False).mean if reference else None
    if not base:
        return Cell("nothing to compare to", is_missing=True)
    return _shown(_relative(own, base, column.shown_as), 1, "%")


def average_cell(
    parts: Sequence[tuple[Row, PaperColumn]], num_wanted: int, *, is_before: bool
) -> Cell:
    """The mean over several datasets, seed by seed.

    Args:
        parts: The rows that have run, with what is read from each.
        num_wanted: How many datasets the average is over.
        is_before: Whether benchmarks of the model before tuning are wanted.

    Returns:
        The cell; without a number unless every dataset has run and some seed ran on all.
    """
    by_seed = [metric_by_seed(row, column.metric, is_before=is_before) for row, column in parts]
    run_ids = tuple(dict.fromkeys(run_id for row, _ in parts for run_id in row.run_ids))
    if len(parts) < num_wanted:
        text = f"{len(parts)} of {num_wanted} run" if parts else NOT_RUN
        return Cell(text, is_missing=True, run_ids=run_ids)
    seeds = sorted(set.intersection(*(set(values) for values in by_seed)))
    stat = Stat.of(fmean(values[seed] for values in by_seed) for seed in seeds)
    if stat.mean is None:
        return Cell("no common seed", is_missing=True, run_ids=run_ids)
    return replace(_shown(stat, 2, ""), run_ids=run_ids)


def _relative(own: Stat, base: float, shown_as: str) -> Stat:
    """In percent: each run over the reference's mean, or the reference's mean over each run."""
    if shown_as == "ratio":
        return own.scaled(100 / base)
    return Stat.of(100 * base / value for value in own.values if value)


def _shown(stat: Stat, digits: int, unit: str) -> Cell:
    text = number_with_spread(stat, digits) + unit
    return Cell(with_n(text, stat), stat.mean, stat=stat)


def quantity_of(row: Row, column: PaperColumn, sources: Sources, *, is_before: bool) -> Stat:
    """One quantity over a row's runs, in the unit of the paper's raw tables."""
    if column.quantity == "metric":
        return Stat.of(metric_by_seed(row, column.metric, is_before=is_before).values())
    size = inference_batch(row, sources.batch_size)
    inference = row.inference.get(size) if size else None
    readers: Mapping[str, Callable[[], Stat]] = {
        "sparsity": lambda: row.sparsity.scaled(100),
        "time_to_target": lambda: (
            row.time_to_target.seconds_with_eval if row.time_to_target else NOTHING
        ),
        "train_time_per_epoch": lambda: _time_per_epoch(row, sources.settings),
        "train_memory": lambda: row.peak_train_memory_gib.scaled(MIB_PER_GIB),
        "latency": lambda: inference.latency_ms if inference else NOTHING,
        "inference_memory": lambda: (
            inference.peak_memory_gib.scaled(MIB_PER_GIB) if inference else NOTHING
        ),
    }
    return readers[column.quantity]()


def metric_by_seed(row: Row, metric: str, *, is_before: bool = False) -> dict[int, float]:
    """Seed -> a metric as it is shown; the main one for an empty name."""
    name = metric.replace("lm_eval", _BEFORE, 1) if is_before else metric
    scale = metric_scale(metric.split("/", maxsplit=1)[0] or row.metric_name)
    by_seed: dict[int, list[float]] = {}
    for run in row.runs:
        value = run.metrics.get(name) if name else run.metric
        if value is not None:
            by_seed.setdefault(run.seed, []).append(scale * value)
    return {seed: fmean(values) for seed, values in by_seed.items()}


def inference_batch(row: Row, wanted: int) -> int | None:
    """The batch size that a row's inference is shown at: the wanted one, else the largest."""
    return wanted if wanted in row.inference else max(row.inference, default=None)


def _time_per_epoch(row: Row, settings: Mapping[str, Settings]) -> Stat:
    """Training time over the epochs that the configuration asks for; none where it counts steps."""
    seconds = []
    for run in row.runs:
        own = settings.get(run.run_id, {})
        epochs = own.get("training.num_epochs")
        if epochs and own.get("training.max_steps") is None:
            seconds.append(run.train_time_s / epochs)
    return Stat.of(seconds)

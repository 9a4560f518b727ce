"""A few runs side by side: runs that differ in their seed alone are one column (PURE)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from orchestrator.reports import wording
from orchestrator.reports.grid import Cell, Grid, Heading
from orchestrator.reports.paired import compare_paired
from orchestrator.reports.records import Settings, SweepRecords
from orchestrator.reports.row_marks import NO_BASELINE_MARK
from orchestrator.reports.rows import Row, label_of
from orchestrator.reports.settings import comparable_keys, text_of
from orchestrator.reports.tables import build_tables
from orchestrator.reports.wording import (
    count,
    inference_of,
    mean_cell,
    measured_cell,
    percent,
    times,
)

_UNKNOWN = "unknown"


def comparison_grid(records: SweepRecords) -> Grid:
    """What tells the runs apart, and what they measured.

    Args:
        records: The runs, in the order in which they are shown.

    Returns:
        A column per cell, a row per setting that differs and per quantity; differences are to the
        first column, over common seeds.
    """
    rows = _in_order(records)
    settings = _settings_lines(rows, records.settings)
    measured = [
        (Cell(name), *(wording.linked(row, fill(row)) for row in rows))
        for name, fill in _quantities(rows).items()
    ]
    headings = [Heading(name, "", is_number=False) for name in _names(rows)]
    return Grid(
        columns=(Heading("", "setting or quantity", is_number=False), *headings),
        rows=(*settings, *measured),
        name="comparison",
        title="Runs side by side",
    )


def _in_order(records: SweepRecords) -> list[Row]:
    order = {run_id: position for position, run_id in enumerate(records.order)}
    rows = [row for table in build_tables(records) for row in table.rows]
    return sorted(rows, key=lambda row: min(order[run_id] for run_id in _all_ids(row)))


def _all_ids(row: Row) -> list[str]:
    return [*row.run_ids, *(trial.run_id for trial in row.unfinished)]


def _names(rows: Sequence[Row]) -> list[str]:
    """The rows' labels; with model and dataset where these differ."""
    tasks = {(row.key.model, row.key.dataset) for row in rows}
    if len(tasks) <= 1:
        return [label_of(row.key) for row in rows]
    return [f"{row.key.model} on {row.key.dataset}: {label_of(row.key)}" for row in rows]


def _settings_lines(
    rows: Sequence[Row], settings: Mapping[str, Settings]
) -> list[tuple[Cell, ...]]:
    known = [settings[i] for row in rows for i in _all_ids(row) if i in settings]
    return [
        (Cell(key), *(_setting_cell(row, key, settings) for row in rows))
        for key in comparable_keys(known)
    ]


def _setting_cell(row: Row, key: str, settings: Mapping[str, Settings]) -> Cell:
    own = [settings[run_id] for run_id in _all_ids(row) if run_id in settings]
    if not own:
        return Cell(_UNKNOWN, is_missing=True)
    return Cell(", ".join(dict.fromkeys(text_of(values.get(key)) for values in own)))


def _quantities(rows: Sequence[Row]) -> dict[str, Callable[[Row], Cell]]:
    """Heading -> how a row fills it."""
    names = {row.metric_name for row in rows if row.metric_name}
    metric = wording.metric_unit(names.pop()) if len(names) == 1 else "metric"
    quantities: dict[str, Callable[[Row], Cell]] = {
        "runs": wording.runs_cell,
        metric: wording.metric_cell,
        "difference, seed by seed": lambda row: _difference(row, rows[0]),
        "sparsity": mean_cell(lambda row: row.sparsity, percent),
        "density": mean_cell(lambda row: row.density, percent),
        "layer params": mean_cell(lambda row: row.num_layer_params, count),
    }
    for size in sorted({size for row in rows for size in row.inference}):
        latency = inference_of(size, lambda stat: stat.latency_ms)
        speedup = inference_of(size, lambda stat: stat.speedup)
        quantities[f"latency, batch {size}"] = measured_cell(latency, lambda ms: f"{ms:.2f} ms")
        quantities[f"speed-up over dense, batch {size}"] = measured_cell(speedup, times)
    return quantities | {
        "peak training memory": measured_cell(
            lambda row: row.peak_train_memory_gib, lambda gib: f"{gib:.2f} GiB"
        ),
        "training time": wording.train_time_cell,
        "evaluation time": measured_cell(lambda row: row.eval_time_s, wording.duration),
        "mind": _mind,
    }


def _difference(row: Row, first: Row) -> Cell:
    """The metric against the first column's."""
    if row is first:
        return Cell("compared to this")
    if not row.runs or not first.runs:
        return Cell(row.state if not row.runs else "the first has no result", is_missing=True)
    if (row.key.dataset, row.metric_name) != (first.key.dataset, first.metric_name):
        return Cell("another dataset or metric", is_missing=True)
    paired = compare_paired(row.metric_by_seed, first.metric_by_seed)
    scale, digits = wording.metric_scale(row.metric_name), wording.digits_of(row.metric_name)
    return wording.paired_text_cell(paired, scale, digits)


def _mind(row: Row) -> Cell:
    """The row's marks; that no baseline was asked for is no flaw of a comparison."""
    marks = tuple(mark for mark in row.marks if mark != NO_BASELINE_MARK)
    return wording.mind_cell(replace(row, marks=marks))

"""Draw the figures of one task table as SVG and PNG, each with its data as CSV beside it."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.reports import series
from orchestrator.reports.drawing import MAX_FULL_LINES, Panel, Styles, draw
from orchestrator.reports.records import SweepRecords
from orchestrator.reports.rows import TaskTable
from orchestrator.reports.wording import metric_unit

_ENDINGS = ("svg", "png", "csv")
_SPREAD = "Bars: standard deviation over 3 or more seeds, range over 2."


@dataclass(frozen=True)
class FigureFiles:
    """One drawn figure."""

    title: str
    caption: str
    svg: Path
    png: Path
    csv: Path


@dataclass(frozen=True)
class _Figure:
    name: str
    title: str
    caption: str
    panels: Sequence[Panel]


def draw_figures(
    table: TaskTable, records: SweepRecords, folder: Path, *, styles: Styles, suffix: str = ""
) -> list[FigureFiles]:
    """Draw all figures of one (model, dataset) for which there is data.

    Args:
        table: The rows.
        records: The sweep, for the curves.
        folder: Where the files go; made if missing.
        styles: How each row looks, by its label: the same in all figures of a report.
        suffix: Appended to the file names, to keep several tables apart.

    Returns:
        The files, in the order of the report.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for figure in _figures(table, records):
        panels = [panel for panel in figure.panels if panel.lines]
        if panels:
            svg, png, data = (folder / f"{figure.name}{suffix}.{end}" for end in _ENDINGS)
            _write_csv(data, panels)
            draw(panels, styles, svg, png)
            title = f"{figure.title}, {table.title}"
            drawn.append(FigureFiles(title, figure.caption, svg, png, data))
    return drawn


def _figures(table: TaskTable, records: SweepRecords) -> list[_Figure]:
    return [
        _metric_over_time(table, records),
        _shape_over_steps(table, records),
        _metric_vs_sparsity(table),
        _metric_vs_speedup(table),
    ]


def _metric_over_time(table: TaskTable, records: SweepRecords) -> _Figure:
    lines = series.metric_over_time(table, records.curves)
    what = "A line per run; diamonds: the model was cut or grown."
    if len(lines) > MAX_FULL_LINES:
        what = "The mean of each row, and a faint line per run."
    caption = f"{what} Evaluation time is left out."
    panel = Panel(lines, "training time (s)", metric_unit(table.metric_name), "curve")
    return _Figure("metric_over_time", f"{table.metric_name} over training time", caption, [panel])


def _shape_over_steps(table: TaskTable, records: SweepRecords) -> _Figure:
    sparsity = series.sparsity_over_steps(table, records.curves)
    rank = series.rank_over_steps(table, records.curves)
    caption = "A line per run. Sparsity is the fraction of layer parameters removed."
    panels = [
        Panel(sparsity, "step", "sparsity (%)", "steps", min_y_span=10.0),
        Panel(rank, "step", "mean adapter rank", "steps", min_y_span=2.0),
    ]
    return _Figure("shape_over_steps", "Sparsity and adapter rank over steps", caption, panels)


def _metric_vs_sparsity(table: TaskTable) -> _Figure:
    lines = series.metric_vs_sparsity(table)
    unit = metric_unit(table.metric_name)
    panel = Panel(lines, "sparsity (%)", unit, "points", min_x_span=10.0)
    caption = f"Means over seeds; thin lines join one method. {_SPREAD}"
    return _Figure("metric_vs_sparsity", f"{table.metric_name} against sparsity", caption, [panel])


def _metric_vs_speedup(table: TaskTable) -> _Figure:
    unit = metric_unit(table.metric_name)
    panels = [
        Panel(
            series.metric_vs_speedup(table, size),
            f"speed-up over dense, batch size {size} (x)",
            unit,
            "points",
            reference=1.0,
            min_x_span=0.5,
        )
        for size in table.batch_sizes
    ]
    caption = f"Means over seeds; thin lines join one method; dotted: the dense model. {_SPREAD}"
    title = f"{table.metric_name} against inference speed-up"
    return _Figure("metric_vs_speedup", title, caption, panels)


def _write_csv(path: Path, panels: Sequence[Panel]) -> None:
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["arm", "run_id", "x_label", "x", "y_label", "y", "y_low", "y_high"])
        for panel in panels:
            for line in panel.lines:
                lows, highs = line.lows or line.ys, line.highs or line.ys
                for x, y, low, high in zip(line.xs, line.ys, lows, highs, strict=True):
                    run = line.run_id or "mean over seeds"
                    writer.writerow(
                        [line.label, run, panel.x_label, x, panel.y_label, y, low, high]
                    )

"""The figures of a task table or a run: what is drawn, and its data as CSV beside it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from apt_core.report import RunReport
from orchestrator.reports import series, tradeoffs
from orchestrator.reports.draw_all import Drawing, draw_all
from orchestrator.reports.figure_csv import write_figure_csv
from orchestrator.reports.panels import MAX_FULL_LINES, Content, Panel
from orchestrator.reports.records import SweepRecords, cell_of_report
from orchestrator.reports.rows import TaskTable, label_of
from orchestrator.reports.run_figures import RunFigure, figures_of_run
from orchestrator.reports.series import Line
from orchestrator.reports.styles import Styles
from orchestrator.reports.wording import metric_unit

MAX_ROWS_DRAWN = 3
"""Rows of a report that get figures of their first run; `aptune explain` draws any run's."""
SPREAD = "Bars: 95% interval of the mean over 3 or more seeds, range over 2."
JOINED = f"Means over seeds; thin lines join one method. {SPREAD}"


@dataclass(frozen=True)
class FigureFiles:
    """One drawn figure."""

    title: str
    caption: str
    svg: Path
    png: Path
    pdf: Path
    csv: Path
    about: str = ""
    """The row whose run it shows; empty: the whole table."""


@dataclass(frozen=True)
class PlannedFigure:
    """A figure whose data is written and whose drawing is still to be made."""

    files: FigureFiles
    drawing: Drawing


@dataclass(frozen=True)
class _Figure:
    name: str
    title: str
    caption: str
    contents: Sequence[Content]
    num_columns: int | None = None
    row: str = ""
    run_id: str = ""


def plan_figures(
    table: TaskTable,
    records: SweepRecords,
    folder: Path,
    *,
    styles: Styles,
    suffix: str = "",
    max_rows: int = MAX_ROWS_DRAWN,
) -> list[PlannedFigure]:
    """All figures of one (model, dataset) for which there is data, ready to be drawn.

    Args:
        table: The rows.
        records: The sweep, for the curves.
        folder: Where the files go; made if missing.
        styles: How each row looks, by its label: the same in all figures of a report.
        suffix: Appended to the file names, to keep several tables apart.
        max_rows: How many rows get figures of a run of theirs.

    Returns:
        The figures, in the order of the report; their CSV files are written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures = [*_table_figures(table, records), *_run_figures(table, max_rows)]
    return [
        _plan(figure, figure.row or table.title, folder / f"{figure.name}{suffix}", styles)
        for figure in figures
        if not all(content.is_empty for content in figure.contents)
    ]


def draw_run(run: RunReport, folder: Path) -> list[FigureFiles]:
    """Draw the figures of one run.

    Args:
        run: Its report.
        folder: Where the files go; made if missing.

    Returns:
        The files: structure, ranks and salience, without what is not recorded.
    """
    folder.mkdir(parents=True, exist_ok=True)
    label = label_of(cell_of_report(run))
    return draw_planned(
        _plan(_of_run(figure, run, label), label, folder / figure.name, {})
        for figure in figures_of_run(run)
    )


def draw_planned(figures: Iterable[PlannedFigure], max_processes: int = 1) -> list[FigureFiles]:
    """Draw figures that are planned.

    Args:
        figures: Of one table or of many.
        max_processes: See `draw_all`.

    Returns:
        Their files, in the same order.
    """
    planned = list(figures)
    draw_all([figure.drawing for figure in planned], max_processes)
    return [figure.files for figure in planned]


def _plan(figure: _Figure, about: str, path: Path, styles: Styles) -> PlannedFigure:
    contents = [content for content in figure.contents if not content.is_empty]
    svg, png, pdf, data = (
        path.with_name(f"{path.name}.{ending}") for ending in ("svg", "png", "pdf", "csv")
    )
    write_figure_csv(data, contents, arm=figure.row, run_id=figure.run_id)
    title = f"{figure.title}, {about}"
    files = FigureFiles(title, figure.caption, svg, png, pdf, data, about=figure.row)
    return PlannedFigure(files, Drawing(contents, styles, path, figure.num_columns))


def _table_figures(table: TaskTable, records: SweepRecords) -> list[_Figure]:
    return [
        _metric_over_time(table, records),
        _run_over_steps(table, records),
        _metric_vs_sparsity(table),
        _inference_tradeoff(table),
        _training_tradeoff(table),
        _rank_study(table, records),
        _pareto(table),
    ]


def _metric_over_time(table: TaskTable, records: SweepRecords) -> _Figure:
    lines = series.metric_over_time(table, records.curves)
    what = "A line per run; diamonds: the model was cut or grown."
    if len(lines) > MAX_FULL_LINES:
        what = "The mean of each row, and, unless there are very many, a faint line per run."
    caption = f"{what} Evaluation time is left out."
    panel = Panel(lines, "training time (s)", metric_unit(table.metric_name), "curve")
    return _Figure("metric_over_time", f"{table.metric_name} over training time", caption, [panel])


def _run_over_steps(table: TaskTable, records: SweepRecords) -> _Figure:
    curves = records.curves
    losses, sizes = series.loss_over_steps(table, curves), series.hidden_size_over_steps
    panels = [
        Panel(losses, "step", "training loss", "line"),
        _steps(series.sparsity_over_steps(table, curves), "sparsity (%)", 10.0),
        _steps(sizes(table, curves), "hidden size", 4.0),
        _steps(series.rank_over_steps(table, curves), "mean adapter rank", 2.0),
    ]
    what = "The mean of each row." if len(losses) > MAX_FULL_LINES else "A line per run."
    caption = (
        f"{what} Where the lower lines jump, the model was cut or grown. Sparsity is the fraction "
        "of layer parameters removed."
    )
    return _Figure("shape_over_steps", "Loss, sparsity and shape over steps", caption, panels)


def _steps(lines: list[Line], y_label: str, min_y_span: float) -> Panel:
    return Panel(lines, "step", y_label, "steps", min_y_span=min_y_span)


def _metric_vs_sparsity(table: TaskTable) -> _Figure:
    lines = tradeoffs.metric_vs_sparsity(table)
    panel = _points(table, lines, "sparsity (%)", min_x_span=10.0)
    return _Figure("metric_vs_sparsity", f"{table.metric_name} against sparsity", JOINED, [panel])


def _points(
    table: TaskTable,
    lines: list[Line],
    x_label: str,
    *,
    reference: float | None = None,
    min_x_span: float = 0.0,
) -> Panel:
    return Panel(
        lines,
        x_label,
        metric_unit(table.metric_name),
        "points",
        reference=reference,
        level=tradeoffs.baseline_level(table),
        min_x_span=min_x_span,
    )


def _inference_tradeoff(table: TaskTable) -> _Figure:
    sizes = table.batch_sizes
    speed = [
        _points(
            table,
            tradeoffs.metric_vs_speedup(table, size),
            f"speed-up over dense, batch size {size} (x)",
            reference=1.0,
            min_x_span=0.5,
        )
        for size in sizes
    ]
    memory = [
        _points(
            table,
            tradeoffs.metric_vs_inference_memory(table, size),
            f"inference memory, batch size {size} (GiB)",
        )
        for size in sizes
    ]
    title = f"{table.metric_name} against inference speed and memory (as the paper's Figure 3)"
    caption = f"{JOINED} Dotted: the dense model; full fine-tuning."
    return _Figure("inference_tradeoff", title, caption, [*speed, *memory], len(sizes) or None)


def _training_tradeoff(table: TaskTable) -> _Figure:
    panels = [
        _points(
            table,
            tradeoffs.metric_vs_training_speed(table),
            "training speed over FT (x)",
            reference=1.0,
            min_x_span=0.5,
        ),
        _points(table, tradeoffs.metric_vs_training_memory(table), "peak training memory (GiB)"),
    ]
    late = [label_of(row.key) for row in table.rows if row.runs and not tradeoffs.arrives(row)]
    missing = (
        f" Without a training speed, as they did not get there: {', '.join(late)}." if late else ""
    )
    title = f"{table.metric_name} against training speed and memory (as the paper's Figure 4)"
    speed = "Training speed: FT's time to 97% of its own metric over the row's time to it."
    caption = f"{JOINED} Dotted: full fine-tuning. {speed}{missing}"
    return _Figure("training_tradeoff", title, caption, panels)


def _rank_study(table: TaskTable, records: SweepRecords) -> _Figure:
    lines = tradeoffs.metric_vs_rank(table, records.settings)
    panel = _points(table, lines, "initial rank")
    title = f"{table.metric_name} against the initial rank (as the paper's Figure 5)"
    return _Figure("rank_study", title, JOINED, [panel])


def _pareto(table: TaskTable) -> _Figure:
    panels = [
        _points(table, tradeoffs.metric_vs_speedup(table, size), f"speed-up, batch {size} (x)")
        for size in table.batch_sizes[-1:]
    ]
    panels.append(_points(table, tradeoffs.metric_vs_layer_params(table), "layer parameters (M)"))
    fronts = [
        tradeoffs.with_front(panel, is_more_better=i < len(panels) - 1)
        for i, panel in enumerate(panels)
    ]
    caption = (
        "Circled and joined by dashes: rows that no other row beats on both axes, by their means; "
        f"differences within the bars are noise. {SPREAD}"
    )
    return _Figure("pareto", "Pareto front of the sweep", caption, fronts)


def _run_figures(table: TaskTable, max_rows: int) -> Iterator[_Figure]:
    """Figures of the first run of some rows: of those that were cut before others."""
    by_number = {n: figures_of_run(row.runs[0]) for n, row in enumerate(table.rows) if row.runs}
    # A run that was cut has more figures than one that only has ranks.
    chosen = sorted(by_number, key=lambda number: -len(by_number[number]))[:max_rows]
    for number in sorted(chosen):
        label, run = label_of(table.rows[number].key), table.rows[number].runs[0]
        for figure in by_number[number]:
            yield _of_run(replace(figure, name=f"{figure.name}_{number}"), run, label)


def _of_run(figure: RunFigure, run: RunReport, label: str) -> _Figure:
    return _Figure(
        figure.name,
        figure.title,
        f"Run {run.run_id}, seed {run.seed}. {figure.caption}",
        figure.contents,
        figure.num_columns,
        label,
        run.run_id,
    )

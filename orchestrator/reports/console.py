"""The result table for a terminal of 100 to 120 columns."""

from collections import defaultdict
from dataclasses import replace

from rich import box
from rich.table import Table
from rich.text import Text

from orchestrator.reports.columns import Column, headline_columns
from orchestrator.reports.grid import Cell, Grid
from orchestrator.reports.records import SweepRecords
from orchestrator.reports.rows import Row, TaskTable, label_of
from orchestrator.reports.tables import build_tables
from orchestrator.reports.wording import (
    metric_cell,
    metric_unit,
    points_cell,
    speedups_cell,
)

_DROPPED = frozenset({"runs", "to 97% of FT", "vs FT, seed by seed", "mind"})


def console_table(records: SweepRecords) -> Table:
    """The headline of a sweep, for rich to print.

    Args:
        records: What the sweep's folder holds.

    Returns:
        One table; with several (model, dataset) pairs, one section for each.
    """
    tables = build_tables(records)
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
        caption=_as_caption(_caption(records, tables)),
        caption_justify="left",
    )
    _add_headings(table, tables)
    for task_table in tables:
        _add_section(table, task_table, is_titled=len(tables) > 1)
    return table


def grid_table(grid: Grid) -> Table:
    """Any table of a report, for rich to print.

    Args:
        grid: The table.

    Returns:
        The same, the first column bold, footnotes below.
    """
    notes = "\n".join(f"{number}. {note}" for number, note in enumerate(grid.notes, 1))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption_justify="left")
    table.caption = _as_caption(notes) if notes else None
    for column in grid.columns:
        table.add_column(column.heading, justify="right" if column.is_number else "left")
    for row in grid.rows:
        first = Text(row[0].text, style="bold")
        table.add_row(first, *(_styled(replace(cell, text=cell.full_text)) for cell in row[1:]))
    return table


def _as_caption(text: str) -> Text:
    """Text below a table, brackets as they are."""
    return Text(text, style="table.caption")


def _columns(table: TaskTable) -> list[Column]:
    """The headline's columns that fit a terminal; the speed-ups of all batch sizes in one."""
    columns = [c for c in headline_columns(table) if c.heading not in _DROPPED]
    return [column for column in columns if not column.heading.startswith("speed-up")]


def _add_headings(table: Table, tables: tuple[TaskTable, ...]) -> None:
    metrics = {metric_unit(task_table.metric_name) for task_table in tables}
    # With several metrics each section's title names its own.
    metric = metrics.pop() if len(metrics) == 1 else "metric"
    table.add_column("arm", no_wrap=len(tables) <= 1)
    measured = ("params", "time", "memory", "speed-up")
    for heading in ("sparsity", "density", metric, "vs FT", *measured):
        # Where room is short, the speed-ups stand below each other.
        table.add_column(heading, justify="right", no_wrap=heading != "speed-up")


def _add_section(table: Table, task_table: TaskTable, *, is_titled: bool) -> None:
    if is_titled:
        table.add_section()
        title = f"{task_table.title}, {metric_unit(task_table.metric_name)}"
        table.add_row(Text(title, style="bold"))
    for row in task_table.rows:
        cells = [_short_cell(column, row, task_table) for column in _columns(task_table)]
        cells.append(speedups_cell(row, task_table.batch_sizes))
        table.add_row(*(_styled(cell) for cell in cells))


def _short_cell(column: Column, row: Row, table: TaskTable) -> Cell:
    if column.heading.startswith("vs FT"):
        return points_cell(row)
    if column.heading == metric_unit(table.metric_name):
        return metric_cell(row, is_short=True)
    return column.fill(row)


def _styled(cell: Cell) -> Text:
    return Text(cell.text, style="dim" if cell.is_missing else "")


def _caption(records: SweepRecords, tables: tuple[TaskTable, ...]) -> str:
    """What the short headings mean, and how many trials are missing."""
    text = (
        "\u00b1: half of the 95% interval over seeds; vs FT: points; params: left in the layers; "
        "time, memory: of training"
    )
    sizes = sorted({size for task_table in tables for size in task_table.batch_sizes})
    if sizes:
        text += f"; speed-up: inference over dense, batch {', '.join(map(str, sizes))}"
    for task_table in tables:
        title = f"{task_table.title}, " if len(tables) > 1 else ""
        text += "".join(f"\n{title}[{name}]: {what}" for name, what in task_table.variants)
    for task_table in tables:
        text += _minds(task_table, is_titled=len(tables) > 1)
    num_unfinished = len(records.unfinished)
    if num_unfinished:
        text += (
            f"\n{num_unfinished} of {records.num_trials} trials have no result; the report says why"
        )
    return text


def _minds(table: TaskTable, *, is_titled: bool) -> str:
    """A line for each mark: the rows that carry it."""
    labels: dict[str, list[str]] = defaultdict(list)
    for row in table.rows:
        for mark in row.marks:
            labels[mark].append(label_of(row.key))
    title = f"{table.title}, " if is_titled else ""
    return "".join(
        f"\n{title}{mark}: {'all rows' if len(rows) == len(table.rows) else ', '.join(rows)}"
        for mark, rows in labels.items()
    )

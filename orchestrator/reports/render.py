"""Write a sweep's report: Markdown, one self-contained HTML page, CSV, and the figures."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from orchestrator.reports.checks import find_warnings
from orchestrator.reports.collect import collect
from orchestrator.reports.drawing import inline_svg
from orchestrator.reports.figures import MAX_ROWS_DRAWN, FigureFiles, draw_figures
from orchestrator.reports.records import SweepRecords, UnfinishedTrial
from orchestrator.reports.rows import Row, TaskTable, label_of, order_of
from orchestrator.reports.settings import (
    common_settings,
    differing_keys,
    flatten,
    mode_text,
    text_of,
)
from orchestrator.reports.styles import make_styles
from orchestrator.reports.table_csv import write_table_csv
from orchestrator.reports.tables import build_tables
from orchestrator.reports.tradeoffs import method_of
from orchestrator.reports.wording import Cell, Column, detail_columns, headline_columns

NO_COMMAND = "not recorded"


@dataclass(frozen=True)
class ReportPaths:
    """Where the parts of a report are."""

    markdown: Path
    html: Path
    csv: Path
    figures: tuple[Path, ...]
    """The SVG files; a PNG and a CSV of the same name stand beside each."""


@dataclass(frozen=True)
class Grid:
    """A table as text: columns and rows of cells."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Rerun:
    """How to repeat one row: a command per run, and what became of the runs without a result."""

    label: str
    commands: tuple[tuple[int, str], ...]
    """(seed, command)."""
    unfinished: tuple[UnfinishedTrial, ...]


@dataclass(frozen=True)
class Section:
    """All that the report shows of one (model, dataset)."""

    title: str
    slug: str
    headline: Grid
    details: Grid
    target: str
    variants: tuple[tuple[str, str], ...]
    """What the letters in the labels stand for."""
    figures: tuple[FigureFiles, ...]
    reruns: tuple[Rerun, ...]


@dataclass(frozen=True)
class Page:
    """The whole report as values; the templates only lay it out."""

    name: str
    num_trials: int
    num_finished: int
    mode: str
    """Whether the runs follow the paper or the authors' code."""
    sections: tuple[Section, ...]
    warnings: tuple[str, ...]
    settings: Mapping[str, str]
    differing: Sequence[tuple[str, str]]
    environment: Sequence[tuple[str, str]]
    unplaced: tuple[UnfinishedTrial, ...]
    """Trials whose row is unknown."""


def build_report(sweep_dir: Path, out_dir: Path | None = None) -> ReportPaths:
    """Write the report of a sweep, finished or not.

    Args:
        sweep_dir: The sweep's folder, ``<results_dir>/<name>``.
        out_dir: Where the report goes; default: ``report`` inside the sweep's folder.

    Returns:
        The files.

    Raises:
        DataError: If the folder is not a sweep's.
    """
    records = collect(sweep_dir)
    tables = build_tables(records)
    out_dir = out_dir or sweep_dir / "report"
    out_dir.mkdir(parents=True, exist_ok=True)
    figures = _draw(tables, records, out_dir / "figures")
    page = make_page(records, tables, figures)
    paths = ReportPaths(
        markdown=out_dir / "report.md",
        html=out_dir / "report.html",
        csv=out_dir / "table.csv",
        figures=tuple(files.svg for drawn in figures for files in drawn),
    )
    paths.markdown.write_text(_render("report.md.j2", page), encoding="utf-8")
    paths.html.write_text(_render("report.html.j2", page), encoding="utf-8")
    write_table_csv(paths.csv, tables)
    return paths


def make_page(
    records: SweepRecords, tables: Sequence[TaskTable], figures: Sequence[Sequence[FigureFiles]]
) -> Page:
    """The report's content.

    Args:
        records: What the sweep's folder holds.
        tables: Its tables.
        figures: The drawn figures of each table.

    Returns:
        What the templates lay out.
    """
    settings = [records.settings[run_id] for run_id in sorted(records.settings)]
    return Page(
        name=records.name,
        num_trials=records.num_trials,
        num_finished=len(records.reports),
        mode=mode_text(settings),
        sections=tuple(_section(t, drawn) for t, drawn in zip(tables, figures, strict=True)),
        warnings=find_warnings(records, tables),
        settings=common_settings(settings),
        differing=_values_by_key(settings, differing_keys(settings)),
        environment=_environment(records),
        unplaced=tuple(trial for trial in records.unfinished if trial.cell is None),
    )


def _draw(
    tables: Sequence[TaskTable], records: SweepRecords, folder: Path
) -> list[list[FigureFiles]]:
    """The figures of each table; a row of the same name looks alike in all of them."""
    keys = sorted((row.key for table in tables for row in table.rows), key=order_of)
    styles = make_styles({label_of(key): method_of(key) for key in keys})
    suffixes = [f"__{_slug(t.title)}" for t in tables] if len(tables) > 1 else [""] * len(tables)
    max_rows = max(1, MAX_ROWS_DRAWN // max(1, len(tables)))
    return [
        draw_figures(table, records, folder, styles=styles, suffix=suffix, max_rows=max_rows)
        for table, suffix in zip(tables, suffixes, strict=True)
    ]


def _section(table: TaskTable, figures: Sequence[FigureFiles]) -> Section:
    targets = " or ".join(f"{target:.4f}" for target in table.target_metrics)
    return Section(
        title=table.title,
        slug=_slug(table.title),
        headline=_grid(headline_columns(table), table.rows),
        details=_grid(detail_columns(table), table.rows),
        target=f"{table.metric_name} {targets}" if targets else "",
        variants=table.variants,
        figures=tuple(figures),
        reruns=tuple(_rerun(row) for row in table.rows),
    )


def _grid(columns: tuple[Column, ...], rows: Sequence[Row]) -> Grid:
    return Grid(columns, tuple(tuple(column.fill(row) for column in columns) for row in rows))


def _rerun(row: Row) -> Rerun:
    commands = tuple((run.seed, run.command or NO_COMMAND) for run in row.runs)
    return Rerun(label_of(row.key), commands, row.unfinished)


def _environment(records: SweepRecords) -> list[tuple[str, str]]:
    """Every value of every environment key over the finished runs; one line a key."""
    environments = [flatten(report.environment) for report in records.reports]
    keys = sorted({key for environment in environments for key in environment})
    return _values_by_key(environments, keys)


def _values_by_key(
    mappings: Sequence[Mapping[str, Any]], keys: Sequence[str]
) -> list[tuple[str, str]]:
    return [
        (key, " | ".join(dict.fromkeys(text_of(m[key]) for m in mappings if key in m)))
        for key in keys
    ]


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "_", text).strip("_")


def _render(template: str, page: Page) -> str:
    environment = Environment(
        loader=PackageLoader("orchestrator.reports", "templates"),
        autoescape=lambda name: name is not None and ".html" in name,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["markdown_cell"] = _markdown_cell
    environment.filters["inline_svg"] = _inline_svg
    return environment.get_template(template).render(page=page)


def _markdown_cell(text: str) -> str:
    """Text that cannot break out of a Markdown table's cell."""
    return " ".join(str(text).replace("|", r"\|").replace("<", "&lt;").split())


def _inline_svg(files: FigureFiles) -> Markup:
    """The figure's drawing as an element; our own SVG writer escaped the texts inside."""
    return Markup(inline_svg(files.svg, _slug(files.svg.stem)))

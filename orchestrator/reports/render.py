"""Write a sweep's report: Markdown, one self-contained HTML page, LaTeX, CSV, Parquet, figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from orchestrator.reports.cells_file import write_cells
from orchestrator.reports.collect import collect
from orchestrator.reports.drawing import inline_svg
from orchestrator.reports.figures import (
    MAX_ROWS_DRAWN,
    FigureFiles,
    draw_planned,
    plan_figures,
)
from orchestrator.reports.grid import slug
from orchestrator.reports.latex import to_latex
from orchestrator.reports.page import Page, make_page
from orchestrator.reports.records import SweepRecords
from orchestrator.reports.rows import TaskTable, label_of, order_of
from orchestrator.reports.runs_csv import write_runs
from orchestrator.reports.styles import make_styles
from orchestrator.reports.table_csv import write_table
from orchestrator.reports.tables import build_tables
from orchestrator.reports.tradeoffs import method_of


@dataclass(frozen=True)
class ReportPaths:
    """Where the parts of a report are."""

    markdown: Path
    html: Path
    latex: Path
    csv: Path
    """One line per cell of the grid."""
    parquet: Path
    """The same."""
    runs_csv: Path
    """One line per run."""
    runs_parquet: Path
    """The same."""
    cells_csv: Path
    """One line per cell of every table."""
    cells_parquet: Path
    """The same."""
    figures: tuple[Path, ...]
    """The SVG files; a PNG, a PDF and a CSV of the same name stand beside each."""


def build_report(
    sweep_dir: Path, out_dir: Path | None = None, *, max_processes: int = 1
) -> ReportPaths:
    """Write the report of a sweep, finished or not.

    Args:
        sweep_dir: The sweep's folder, ``<results_dir>/<name>``.
        out_dir: Where the report goes; default: ``report`` inside the sweep's folder.
        max_processes: How many draw figures; see `draw_all` before you give more than one.

    Returns:
        The files.

    Raises:
        DataError: If the folder is not a sweep's.
    """
    records = collect(sweep_dir)
    tables = build_tables(records)
    out_dir = out_dir or sweep_dir / "report"
    out_dir.mkdir(parents=True, exist_ok=True)
    figures = _draw(tables, records, out_dir / "figures", max_processes)
    page = make_page(records, tables, figures)
    paths = ReportPaths(
        markdown=out_dir / "report.md",
        html=out_dir / "report.html",
        latex=out_dir / "table.tex",
        csv=out_dir / "table.csv",
        parquet=out_dir / "table.parquet",
        runs_csv=out_dir / "runs.csv",
        runs_parquet=out_dir / "runs.parquet",
        cells_csv=out_dir / "cells.csv",
        cells_parquet=out_dir / "cells.parquet",
        figures=tuple(files.svg for drawn in figures for files in drawn),
    )
    paths.markdown.write_text(_render("report.md.j2", page), encoding="utf-8")
    paths.html.write_text(_render("report.html.j2", page), encoding="utf-8")
    paths.latex.write_text(to_latex(page.grids, page.mode), encoding="utf-8")
    write_table(paths.csv, paths.parquet, tables)
    write_runs(paths.runs_csv, paths.runs_parquet, tables)
    write_cells(paths.cells_csv, paths.cells_parquet, page.grids, page.commands)
    return paths


def _draw(
    tables: Sequence[TaskTable], records: SweepRecords, folder: Path, max_processes: int
) -> list[list[FigureFiles]]:
    """The figures of each table; a row of the same name looks alike in all of them."""
    keys = sorted((row.key for table in tables for row in table.rows), key=order_of)
    styles = make_styles({label_of(key): method_of(key) for key in keys})
    suffixes = [f"__{slug(t.title)}" for t in tables] if len(tables) > 1 else [""] * len(tables)
    max_rows = MAX_ROWS_DRAWN // max(1, len(tables))
    planned = [
        plan_figures(table, records, folder, styles=styles, suffix=suffix, max_rows=max_rows)
        for table, suffix in zip(tables, suffixes, strict=True)
    ]
    files = iter(draw_planned(chain.from_iterable(planned), max_processes))
    return [list(islice(files, len(figures))) for figures in planned]


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
    return Markup(inline_svg(files.svg, slug(files.svg.stem)))

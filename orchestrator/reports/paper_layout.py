"""Tables in the paper's layout: its rows and columns, our numbers, its numbers beside them (PURE).

Tables 2, 3, 4, 5, 7 to 10, 11 and 12. Where the sweep has a model and a dataset of the paper, its
own tables are filled; a sweep of other models or datasets borrows their layout without numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from apt_core.config.task_kinds import METRICS_OF_KIND
from orchestrator.reports.grid import Cell, Grid, Heading, slug
from orchestrator.reports.paper_cells import Sources
from orchestrator.reports.paper_match import Filler
from orchestrator.reports.published import PaperTable, Published, load_published
from orchestrator.reports.records import Settings
from orchestrator.reports.rows import TaskTable
from orchestrator.reports.settings import mode_text


def paper_grids(tables: Sequence[TaskTable], settings: Mapping[str, Settings]) -> tuple[Grid, ...]:
    """Every table of the paper that the sweep has cells of.

    Args:
        tables: The sweep's tables.
        settings: run_id -> its resolved config.

    Returns:
        The tables, in the paper's order, one per model.
    """
    published = load_published()
    grids = []
    for layout in published.tables:
        sources = Sources(tables, settings, layout.batch_size)
        for model in dict.fromkeys(table.model for table in tables):
            grid = _grid_for(layout, model, sources, published)
            if grid is not None:
                grids.append(grid)
    return tuple(grids)


def _grid_for(
    layout: PaperTable, model: str, sources: Sources, published: Published
) -> Grid | None:
    own = [table for table in sources.tables if table.model == model]
    key = published.model_of(model, _any_settings(own, sources.settings))
    if key in layout.models:
        rows = tuple(row for row in layout.rows if row.model == key)
        filler = Filler(replace(layout, rows=rows), model, key, sources, published)
        if _is_worth_showing(filler, 1):
            return _grid(filler)
    borrowed = _borrowed(layout, model, own)
    if borrowed is None:
        return None
    filler = Filler(borrowed, model, "", sources, published)
    return _grid(filler) if _is_worth_showing(filler, 2) else None


def _is_worth_showing(filler: Filler, num_rows: int) -> bool:
    """Whether the sweep has that many of the rows, and an ablation where these are compared."""
    found = [row for row in filler.table.rows if filler.is_in_sweep(row)]
    if filler.table.is_ablation and all("full" in row.ablations for row in found):
        return False
    return len(found) >= num_rows


def _grid(filler: Filler) -> Grid:
    layout = filler.table
    headings = [Heading(c.heading, _help(c.quantity, c.shown_as)) for c in layout.columns]
    rows = [
        (Cell(row.label), *(filler.cell(row, column) for column in layout.columns))
        for row in layout.rows
    ]
    notes = [_mode_note(filler)]
    if any(cell.published for row in rows for cell in row):
        notes.insert(0, filler.published.general_note)
    rows[0] = (replace(rows[0][0], notes=tuple(notes)), *rows[0][1:])
    return Grid(
        columns=(Heading("method", "as the paper names it", is_number=False), *headings),
        rows=tuple(rows),
        name=f"paper-{layout.number}-{slug(filler.model)}",
        title=f"{filler.model} at {100 * layout.sparsity:g}% sparsity: {layout.title}",
        source=f"{layout.source} of {filler.published.short}",
    )


def _mode_note(filler: Filler) -> str:
    """Whose recipe our numbers are of: the published ones came from code that differs."""
    tables = [table for table in filler.sources.tables if table.model == filler.model]
    settings = filler.sources.settings
    mode = mode_text(settings[i] for i in _run_ids(tables) if i in settings)
    theirs = "; the paper's numbers came from its authors' code" if filler.paper_model else ""
    return f"Our runs: mode {mode}{theirs}."


def _help(quantity: str, shown_as: str) -> str:
    what = quantity.replace("_", " ")
    relative = {"ratio": ", relative", "inverse": ", relative and inverse"}
    return what + relative.get(shown_as, "")


def _any_settings(tables: Sequence[TaskTable], settings: Mapping[str, Settings]) -> Settings:
    return next((settings[i] for i in _run_ids(tables) if i in settings), {})


def _run_ids(tables: Sequence[TaskTable]) -> list[str]:
    rows = [row for table in tables for row in table.rows]
    unfinished = [trial.run_id for row in rows for trial in row.unfinished]
    return [*(run_id for row in rows for run_id in row.run_ids), *unfinished]


def _borrowed(layout: PaperTable, model: str, tables: Sequence[TaskTable]) -> PaperTable | None:
    kind = _kind_of(tables)
    targets = {
        row.key.target_sparsity
        for table in tables
        for row in table.rows
        if row.key.arm == "apt" and row.key.target_sparsity > 0
    }
    if layout.generic != kind or not targets:
        return None
    sparsity = layout.sparsity if layout.sparsity in targets else max(targets)
    return layout.borrowed(model, tuple(table.dataset for table in tables), sparsity)


def _kind_of(tables: Sequence[TaskTable]) -> str:
    instruction = set(METRICS_OF_KIND["instruction"]) - {"rouge"}
    names = {table.metric_name for table in tables}
    return "instruction" if names & instruction else "scored"

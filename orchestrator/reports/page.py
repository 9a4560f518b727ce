"""The whole report as values, which the templates only lay out (PURE)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.reports.checks import find_warnings
from orchestrator.reports.columns import detail_columns, grid_of, headline_columns
from orchestrator.reports.factorial_grid import factorial_grids
from orchestrator.reports.figures import FigureFiles
from orchestrator.reports.grid import Grid, slug
from orchestrator.reports.machines import Machine, machines_of
from orchestrator.reports.paper_layout import paper_grids
from orchestrator.reports.records import SweepRecords, UnfinishedTrial
from orchestrator.reports.rows import Row, TaskTable, label_of
from orchestrator.reports.settings import (
    common_settings,
    differing_keys,
    flatten,
    mode_text,
    text_of,
)
from orchestrator.reports.time_spent import goodput_grid

NO_COMMAND = "not recorded"


@dataclass(frozen=True)
class Command:
    """How to repeat one run."""

    seed: int
    run_id: str
    text: str


@dataclass(frozen=True)
class Rerun:
    """How to repeat one row: a command per run, and what became of the runs without a result."""

    label: str
    anchor: str
    """What the row's cells link to."""
    commands: tuple[Command, ...]
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
    extra: tuple[Grid, ...] = ()
    """Tables over the whole sweep: of factorial designs, in the paper's layout, of its time."""
    commands: Mapping[str, str] = field(default_factory=dict)
    """run_id -> the command that reruns it."""
    machines: tuple[Machine, ...] = ()
    """What the finished runs were measured on."""

    @property
    def grids(self) -> tuple[Grid, ...]:
        """All tables of the report, in order."""
        own = (grid for section in self.sections for grid in (section.headline, section.details))
        return (*own, *self.extra)


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
        extra=(
            *factorial_grids(tables),
            *paper_grids(tables, records.settings),
            *([goodput_grid(records.goodput)] if records.goodput else []),
        ),
        commands={run.run_id: run.command for run in records.reports},
        machines=machines_of(tables),
    )


def _section(table: TaskTable, figures: Sequence[FigureFiles]) -> Section:
    targets = " or ".join(f"{target:.4f}" for target in table.target_metrics)
    name = slug(table.title)
    return Section(
        title=table.title,
        slug=name,
        headline=grid_of(
            headline_columns(table), table.rows, name=f"results-{name}", title=table.title
        ),
        details=grid_of(
            detail_columns(table),
            table.rows,
            name=f"details-{name}",
            title=f"{table.title}: size, time and speed",
        ),
        target=f"{table.metric_name} {targets}" if targets else "",
        variants=table.variants,
        figures=tuple(figures),
        reruns=tuple(_rerun(row) for row in table.rows),
    )


def _rerun(row: Row) -> Rerun:
    commands = tuple(Command(r.seed, r.run_id, r.command or NO_COMMAND) for r in row.runs)
    return Rerun(label_of(row.key), row.anchor, commands, row.unfinished)


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

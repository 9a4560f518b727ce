"""Which kinds of machine the runs of a sweep were measured on (PURE)."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from apt_core.report import RunReport
from orchestrator.reports.row_marks import HARDWARE
from orchestrator.reports.rows import TaskTable, label_of
from orchestrator.reports.settings import flatten, text_of


@dataclass(frozen=True)
class Machine:
    """A kind of machine and what ran on it."""

    what: str
    num_runs: int
    rows: tuple[str, ...]
    """The rows with runs on it; with their table where there are several."""


def machines_of(tables: Sequence[TaskTable]) -> tuple[Machine, ...]:
    """Group the finished runs by what their records tell of the machine.

    Args:
        tables: The tables of a sweep.

    Returns:
        The kinds, the one with most runs first.
    """
    runs: dict[str, list[str]] = defaultdict(list)
    for table in tables:
        about = f"{table.title}: " if len(tables) > 1 else ""
        for row in table.rows:
            for run in row.runs:
                runs[describe_machine(run)].append(f"{about}{label_of(row.key)}")
    kinds = (Machine(what, len(rows), tuple(dict.fromkeys(rows))) for what, rows in runs.items())
    return tuple(sorted(kinds, key=lambda kind: (-kind.num_runs, kind.what)))


def describe_machine(run: RunReport) -> str:
    """A run's machine in one line."""
    known = flatten(run.environment)
    parts = [f"{key} {text_of(known[key])}" for key in HARDWARE if key in known]
    return ", ".join(parts) or "not recorded"

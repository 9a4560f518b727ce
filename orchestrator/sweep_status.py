"""How a sweep stands, from its folder alone: what `aptune status` shows.

The trials' own records are the truth. A job's state is added by whoever knows it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from apt_core.errors import DataError
from orchestrator.execution.status import (
    SWEEP_FILE,
    TrialState,
    TrialStatus,
    finished_report,
    read_status,
)
from orchestrator.execution.trial import TrialSpec
from orchestrator.goodput import Goodput, goodput_of
from orchestrator.progress import STYLES, TrialProgress, duration_text, number_text


@dataclass(frozen=True)
class TrialRow:
    """One trial as it stands."""

    run_id: str
    label: str
    arm: str
    state: TrialState
    step: int
    total_steps: int
    """0: not known."""
    sparsity: float | None
    metric: float | None
    loss: float | None
    eta_s: float | None
    node: str
    """Host name of its worker 0; empty before it has one."""
    reason: str


class SweepView:
    """A sweep's folder, read again and again.

    Args:
        folder: ``<results_dir>/<name>``.

    Raises:
        DataError: If no sweep has been started there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._arms: dict[str, str] = {}
        self._trials = [self._progress(run_id, entry) for run_id, entry in members_of(folder)]

    @property
    def name(self) -> str:
        """The sweep's name."""
        return self.folder.resolve().name

    @property
    def status(self) -> TrialStatus:
        """What the sweep's driver said last; a driver that was killed says nothing more."""
        return read_status(self.folder)

    def goodput(self) -> Goodput | None:
        """Where the time of its slots went so far; None where no trace tells."""
        return goodput_of(self.folder, self._arms)

    def rows(self) -> list[TrialRow]:
        """Every trial as it stands now, in the order in which they were planned."""
        return [self._row(progress) for progress in self._trials]

    def _progress(self, run_id: str, entry: Mapping[str, Any]) -> TrialProgress:
        self._arms[run_id] = str(entry.get("arm", ""))
        return TrialProgress(
            TrialSpec(
                run_id=run_id,
                label=str(entry.get("label", run_id)),
                run_dir=self.folder / "trials" / run_id,
                total_steps=int(entry.get("total_steps", 0)),
                config={},
                command="",
            )
        )

    def _row(self, progress: TrialProgress) -> TrialRow:
        trial = progress.trial
        status = read_status(trial.run_dir)
        if status.state is TrialState.RUNNING:
            progress.count_from(status.time_ms)
        progress.refresh()
        report = finished_report(trial.run_dir, trial.run_id)
        values = progress.values
        return TrialRow(
            run_id=trial.run_id,
            label=trial.label,
            arm=self._arms[trial.run_id],
            state=progress.state,
            step=report.total_steps if report else progress.step,
            total_steps=report.total_steps if report else trial.total_steps,
            sparsity=report.sparsity if report else values.get("sparsity"),
            metric=report.metric if report else values.get("metric"),
            loss=values.get("loss"),
            eta_s=progress.eta_s,
            node=status.node,
            reason=status.reason,
        )


def members_of(folder: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """The trials of a sweep: run id, and what is known of each.

    Args:
        folder: ``<results_dir>/<name>``.

    Returns:
        Pairs of run id and ``label``, ``arm``, ``total_steps``; empty entries for a trial that an
        earlier version has recorded.

    Raises:
        DataError: If no sweep has been started there.
    """
    path = folder / SWEEP_FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        entries = data.get("trials", {})
        return [(str(run_id), entries.get(run_id, {})) for run_id in data["run_ids"]]
    except FileNotFoundError as error:
        raise DataError(
            f"{folder}: no {SWEEP_FILE} inside; give the folder of a sweep that has been started, "
            "<results_dir>/<name>"
        ) from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}); start the sweep again, which writes it anew"
        ) from error


def counts_line(rows: Sequence[TrialRow]) -> str:
    """How many trials are in each state, e.g. ``4 trials: 1 running, 3 finished``."""
    states = [row.state for row in rows]
    parts = [f"{states.count(s)} {s.lower()}" for s in TrialState if s in states]
    noun = "trial" if len(rows) == 1 else "trials"
    return f"{len(rows)} {noun}" + (": " + ", ".join(parts) if parts else "")


def status_table(rows: Sequence[TrialRow]) -> Table:
    """All trials as a table."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("trial", "arm", "state"):
        table.add_column(heading, no_wrap=True)
    for heading in ("step", "sparsity", "metric", "left"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("node", no_wrap=True)
    for row in rows:
        table.add_row(
            row.run_id,
            row.label,
            Text(row.state.lower(), style=STYLES[row.state]),
            f"{row.step}/{row.total_steps or '?'}",
            number_text(row.sparsity),
            number_text(row.metric),
            "" if row.eta_s is None else duration_text(row.eta_s),
            row.node,
        )
    return table


def reasons(rows: Sequence[TrialRow]) -> list[str]:
    """One line for every trial that failed or was killed and says why."""
    told = (TrialState.FAILED, TrialState.KILLED)
    return [f"{row.run_id}: {row.reason}" for row in rows if row.state in told and row.reason]


def as_json(rows: Sequence[TrialRow]) -> list[dict[str, Any]]:
    """The rows as plain data."""
    return [asdict(row) for row in rows]

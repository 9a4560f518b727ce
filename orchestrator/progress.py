"""Live progress of a sweep, read from the trial folders: a table, or plain lines in a log."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from orchestrator.execution.status import METRICS_FILE, TrialState, trial_state
from orchestrator.execution.trial import TrialSpec

LINE_EVERY_S = 15.0
"""Without a terminal: one line per trial at every evaluation and at least this often."""
SECONDS_PER_MINUTE = 60
MINUTES_PER_HOUR = 60
STYLES = {
    TrialState.PENDING: "dim",
    TrialState.RUNNING: "cyan",
    TrialState.FINISHED: "green",
    TrialState.FAILED: "bold red",
    TrialState.KILLED: "yellow",
}
SHOWN_VALUES = {
    "sparsity": "model/sparsity",
    "metric": "eval/metric",
    "loss": "train/loss",
}


@dataclass
class TrialProgress:
    """What one trial has logged so far; `refresh` reads only what is new."""

    trial: TrialSpec
    state: TrialState = TrialState.PENDING
    step: int = 0
    values: dict[str, float] = field(default_factory=dict)
    """Last known ``sparsity``, ``metric`` and ``loss``."""
    num_evaluations: int = 0
    since_ms: int = 0
    """Lines from before this moment do not count for the speed estimate."""
    _offset: int = 0
    _first: tuple[int, int] | None = None
    """(step, time_ms) of the first line of this launch: the origin of the speed estimate."""
    _last_ms: int = 0

    def refresh(self) -> None:
        """Read the state and the new lines of the metric log."""
        self.state = trial_state(self.trial.run_dir, self.trial.run_id)
        for line in self._new_lines():
            self._take(line)

    def skip_history(self) -> None:
        """Read what earlier launches logged, without letting it into the speed estimate."""
        self.refresh()
        self._first = None

    def count_from(self, time_ms: int) -> None:
        """Estimate the speed from what is logged after `time_ms`, when a launch has begun."""
        if time_ms != self.since_ms:
            self.since_ms, self._first = time_ms, None

    @property
    def eta_s(self) -> float | None:
        """Seconds to the last step at the mean speed of this launch; None while it is unknown."""
        if self.state is not TrialState.RUNNING or self._first is None:
            return None
        first_step, first_ms = self._first
        if self.step <= first_step or not self.trial.total_steps:
            return None
        seconds_per_step = (self._last_ms - first_ms) / 1000 / (self.step - first_step)
        return max(0.0, seconds_per_step * (self.trial.total_steps - self.step))

    def _new_lines(self) -> list[Mapping[str, Any]]:
        """Complete lines behind the last read position; a resumed run may cut the file back."""
        path = self.trial.run_dir / METRICS_FILE
        try:
            if path.stat().st_size < self._offset:
                self._offset, self._first = 0, None
            with path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except OSError:
            return []
        complete = data[: data.rfind(b"\n") + 1]
        self._offset += len(complete)
        return _parsed(complete)

    def _take(self, line: Mapping[str, Any]) -> None:
        values = line["values"]
        self.step, self._last_ms = int(line["step"]), int(line["time_ms"])
        if self._first is None and self._last_ms >= self.since_ms:
            self._first = (self.step, self._last_ms)
        if SHOWN_VALUES["metric"] in values:
            self.num_evaluations += 1
        self.values.update({k: values[name] for k, name in SHOWN_VALUES.items() if name in values})


def _parsed(data: bytes) -> list[Mapping[str, Any]]:
    lines: list[Mapping[str, Any]] = []
    for text in data.splitlines():
        try:
            line = json.loads(text)
        except ValueError:  # a torn line of a killed run; the resumed one cuts it away
            continue
        if isinstance(line, dict) and {"step", "time_ms", "values"} <= line.keys():
            lines.append(line)
    return lines


class SweepProgress:
    """Shows the trials of a sweep while they run; a context manager around the sweep."""

    def __init__(self, trials: Sequence[TrialSpec], console: Console) -> None:
        self.rows = [TrialProgress(trial) for trial in trials]
        self._console = console
        self._live = Live(
            console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        self._lines = [_LineWriter(row, console) for row in self.rows]

    def __enter__(self) -> Self:
        """Read what is there and, on a terminal, draw the first table."""
        for row in self.rows:
            row.skip_history()
        if self._console.is_terminal:
            self._live.start()
            self._live.update(progress_table(self.rows), refresh=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last table on the screen."""
        if self._console.is_terminal:
            self._live.stop()

    def refresh(self) -> None:
        """Read the folders again and show what changed."""
        for row in self.rows:
            row.refresh()
        if self._console.is_terminal:
            self._live.update(progress_table(self.rows), refresh=True)
        else:
            for lines in self._lines:
                lines.write_if_due()


class _LineWriter:
    """Plain lines of one trial: when its state changes, at evaluations, and now and then."""

    def __init__(self, row: TrialProgress, console: Console) -> None:
        self._row = row
        self._console = console
        self._written: tuple[TrialState, int, int] | None = None
        self._written_at = 0.0

    def write_if_due(self) -> None:
        row = self._row
        now, seen = time.monotonic(), (row.state, row.num_evaluations, row.step)
        if self._written is None and row.state in (TrialState.PENDING, TrialState.FINISHED):
            self._written = seen if row.state is TrialState.FINISHED else None
            return  # not started, or finished before this launch: nothing new
        is_news = self._written is None or self._written[:2] != seen[:2]
        is_time = self._written != seen and now - self._written_at >= LINE_EVERY_S
        if is_news or is_time:
            self._console.print(progress_line(row), highlight=False, markup=False, soft_wrap=True)
            self._written, self._written_at = seen, now


def progress_line(row: TrialProgress) -> str:
    """One trial as one line of a log."""
    parts = [f"{row.trial.label}: {row.state.lower()}", f"step {step_text(row)}"]
    parts += [f"{name} {row.values[name]:.4f}" for name in SHOWN_VALUES if name in row.values]
    if row.eta_s is not None:
        parts.append(f"{duration_text(row.eta_s)} left")
    return ", ".join(parts)


def progress_table(rows: Sequence[TrialProgress]) -> Table:
    """All trials as a table for the terminal."""
    table = Table(box=None, pad_edge=False)
    table.add_column("trial", no_wrap=True)
    table.add_column("state")
    for heading in ("step", "sparsity", "metric", "loss", "left"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row.trial.label,
            Text(row.state.lower(), style=STYLES[row.state]),
            step_text(row),
            *(number_text(row.values.get(name)) for name in SHOWN_VALUES),
            "" if row.eta_s is None else duration_text(row.eta_s),
        )
    return table


def step_text(row: TrialProgress) -> str:
    """``120/600``; the total is ``?`` while it is unknown."""
    return f"{row.step}/{row.trial.total_steps or '?'}"


def duration_text(seconds: float) -> str:
    """``45 s``, ``3 min 05 s`` or ``2 h 07 min``."""
    minutes, rest = divmod(round(seconds), SECONDS_PER_MINUTE)
    if minutes == 0:
        return f"{rest} s"
    hours, rest_minutes = divmod(minutes, MINUTES_PER_HOUR)
    return f"{hours} h {rest_minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def number_text(value: float | None) -> str:
    """Three decimals; nothing where there is no number."""
    return "" if value is None else f"{value:.3f}"

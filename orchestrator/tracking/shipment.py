"""`TrialShipment`: one folder's way to a `MetricSink`, resumable after any line."""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from apt_core.report import RunReport, StepMetrics
from orchestrator.execution.status import (
    METRICS_FILE,
    RESULT_FILE,
    STATUS_FILE,
    TrialState,
    TrialStatus,
    finished_report,
    read_status,
    trial_state,
)
from orchestrator.tracking.cursor import Cursor
from orchestrator.tracking.jsonl import tail_metrics
from orchestrator.tracking.sink import (
    SUMMARY_PREFIX,
    DeliveryError,
    EndState,
    MetricSink,
    TrialInfo,
)

logger = logging.getLogger(__name__)

LINES_PER_DELIVERY = 200
"""The cursor is saved after so many lines."""

_END_STATES: dict[TrialState, EndState] = {
    TrialState.FINISHED: "FINISHED",
    TrialState.FAILED: "FAILED",
    TrialState.KILLED: "KILLED",
}


@dataclass
class TrialShipment:
    """Takes one folder to the sink, from wherever the last call, or the last process, stopped."""

    trial: TrialInfo
    sink: MetricSink
    should_stop: Callable[[], bool] = lambda: False
    """Asked between two deliveries."""
    _open_run: str = field(default="", init=False)
    """The sink's run that this process has opened; empty: none."""

    def advance(self) -> None:
        """Deliver whatever is new.

        Raises:
            DeliveryError: If the sink does not take it now; the next call tries again.
        """
        directory = self.trial.directory
        cursor = Cursor.load(directory, self._store)
        # State before metrics: whoever writes the last state has written all metrics by then.
        stamp = _stamp(directory)
        if cursor.closed == stamp:
            return
        status = _status_of(self.trial)
        if status.state is TrialState.PENDING:
            return
        cursor = self._open(cursor)
        cursor = self._ship_metrics(cursor)
        if cursor.needs_new_run or self.should_stop():
            return
        cursor = self._ship_artifacts(cursor, self.trial.artifacts)
        if status.state in _END_STATES:
            self._close(cursor, status, stamp)

    def is_settled(self) -> bool:
        """Whether the sink knows the end of it, or there is nothing to know yet."""
        directory = self.trial.directory
        if Cursor.load(directory, self._store).closed == _stamp(directory):
            return True
        return _status_of(self.trial).state is TrialState.PENDING

    @property
    def _store(self) -> str:
        """Where the data goes, the sweep included: a trial of two sweeps is shown in both."""
        sweep = "" if self.trial.parent is None else self.trial.parent.run_id
        return f"{self.sink.store}/{sweep}"

    def _open(self, cursor: Cursor) -> Cursor:
        if cursor.run and cursor.run == self._open_run and not cursor.needs_new_run:
            return cursor
        run = self.sink.start_trial(self.trial, replace=cursor.needs_new_run)
        if run != cursor.run:
            cursor = Cursor(self._store, run)
        cursor = replace(cursor, needs_new_run=False, closed="")
        cursor.save(self.trial.directory)
        self._open_run = run
        return cursor

    def _ship_metrics(self, cursor: Cursor) -> Cursor:
        path = self.trial.directory / METRICS_FILE
        while not self.should_stop():
            tail = tail_metrics(path, cursor.position, max_lines=LINES_PER_DELIVERY)
            if tail.is_rewritten:
                logger.info("%s was cut back; its run is logged anew", path)
                cursor = Cursor(self._store, needs_new_run=True)
            elif tail.position == cursor.position:
                return cursor
            else:
                if tail.metrics:
                    self._deliver(partial(self.sink.log, cursor.run, tail.metrics))
                cursor = replace(cursor, position=tail.position)
            cursor.save(self.trial.directory)
            if cursor.needs_new_run:
                return self._ship_metrics(self._open(cursor))
        return cursor

    def _ship_artifacts(self, cursor: Cursor, names: Iterable[str]) -> Cursor:
        for name in names:
            path = self.trial.directory / name
            stamp = _file_stamp(path)
            if stamp in ("", cursor.artifacts.get(name)):
                continue
            folder = name.rpartition("/")[0]
            self._deliver(partial(self.sink.log_artifact, cursor.run, path, folder))
            cursor = replace(cursor, artifacts={**cursor.artifacts, name: stamp})
            cursor.save(self.trial.directory)
        return cursor

    def _close(self, cursor: Cursor, status: TrialStatus, stamp: str) -> None:
        cursor = self._ship_artifacts(cursor, self.trial.last_artifacts)
        report = finished_report(self.trial.directory, self.trial.run_id)
        if report is not None:
            summary = summarise(report, self.trial.directory / RESULT_FILE)
            self._deliver(partial(self.sink.log, cursor.run, [summary]))
        end, time_ms = _END_STATES[status.state], status.time_ms or _now_ms()
        self.sink.finish_trial(cursor.run, end, time_ms=time_ms, reason=status.reason)
        replace(cursor, closed=stamp).save(self.trial.directory)
        self._open_run = ""

    def _deliver(self, send: Callable[[], None]) -> None:
        """Send; what the sink refuses for good is named in the log and stays on disk."""
        try:
            send()
        except DeliveryError as error:
            if not error.is_permanent:
                raise
            logger.warning("%s: not shown by the tracker: %s", self.trial.directory, error)


def summarise(report: RunReport, path: Path) -> StepMetrics:
    """A result as metrics of the last step: a tracker sorts and plots trials by them.

    Args:
        report: The result.
        path: Its file, whose age is the metrics' time: a second delivery brings the same.

    Returns:
        The metrics; their names begin with `SUMMARY_PREFIX`.
    """
    efficiency = report.efficiency
    values = {
        "metric": report.metric,
        report.metric_name: report.metric,
        "sparsity": report.sparsity,
        "density": report.density,
        "train_time_s": report.train_time_s,
        "layer_params": float(efficiency.num_layer_params),
        "peak_train_memory_gib": efficiency.peak_train_memory_gib,
    }
    for point in efficiency.inference:
        values[f"speedup_batch_{point.batch_size}"] = point.speedup
    values = {f"{SUMMARY_PREFIX}{name}": value for name, value in values.items()}
    return StepMetrics(report.total_steps, path.stat().st_mtime_ns // 1_000_000, values)


def _status_of(trial: TrialInfo) -> TrialStatus:
    status = read_status(trial.directory)
    if trial.parent is None:
        return status
    return replace(status, state=trial_state(trial.directory, trial.run_id))


def _stamp(directory: Path) -> str:
    return "|".join(
        _file_stamp(directory / name) for name in (STATUS_FILE, RESULT_FILE, METRICS_FILE)
    )


def _file_stamp(path: Path) -> str:
    """Changes with every new version of the file; empty if there is none."""
    try:
        stat = path.stat()
    except OSError:
        return ""
    return f"{stat.st_mtime_ns}:{stat.st_size}"


def _now_ms() -> int:
    return int(time.time() * 1000)

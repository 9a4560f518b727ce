"""A sweep: one Ray Tune run over the trials that have no result yet.

The trial folders are the truth. Tune's own state is never restored: running the same command again
builds a new Tune run over what is unfinished, in a folder of its own, and every training resumes
from its own checkpoints.
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apt_core.errors import AptError, StorageError
from apt_core.files import write_json
from apt_core.trace import now_us
from orchestrator.execution.folders import new_numbered_dir
from orchestrator.execution.liveness import ClusterLostError, find_dead, vital_processes
from orchestrator.execution.order import has_its_teacher, teachers_first
from orchestrator.execution.placement import side_by_side
from orchestrator.execution.placement_plan import plan_placement
from orchestrator.execution.status import (
    CONFIG_FILE,
    WORKER_LOG,
    TrialState,
    read_status,
    trial_state,
    write_status,
)
from orchestrator.execution.stopping import StopFile, StopSignal
from orchestrator.execution.trial import TrialSpec, WorkerGroup
from orchestrator.execution.tune_run import TuneRun

logger = logging.getLogger(__name__)

POLL_S = 0.5
SAVE_TIMEOUT_S = 30.0
"""How long trainings may take to finish their step and save it after a stop was asked for."""


@dataclass(frozen=True)
class SweepSettings:
    """How a sweep uses its cluster."""

    sweep_dir: Path
    """``<results_dir>/<sweep name>``."""
    address: str | None = None
    max_concurrent_trials: int | None = None
    max_failures: int = 1
    """How often one trial may lose workers and continue from its checkpoint."""


@dataclass(frozen=True)
class TrialFailure:
    """Which trial failed, why, and where the traceback is."""

    run_id: str
    label: str
    reason: str
    log: Path


@dataclass(frozen=True)
class SweepOutcome:
    """What became of every trial of a sweep."""

    finished: tuple[TrialSpec, ...]
    skipped: tuple[TrialSpec, ...]
    """Finished before this launch; a subset of `finished`."""
    failures: tuple[TrialFailure, ...]
    stopped_by: str = ""
    """The signal that ended the sweep early, or empty."""

    @property
    def is_complete(self) -> bool:
        """Whether every trial has its result."""
        return not self.failures and not self.stopped_by


def run_sweep(
    trials: Sequence[TrialSpec],
    settings: SweepSettings,
    *,
    stop: StopSignal,
    on_poll: Callable[[], None] = lambda: None,
) -> SweepOutcome:
    """Run every trial that has no valid result, in the given order; say what became of all.

    Args:
        trials: The cells of the grid, baselines first.
        settings: Folder, cluster and limits.
        stop: Set by SIGINT or SIGTERM; the sweep then ends and marks what was running as KILLED.
        on_poll: Called about twice a second while trials run, e.g. to draw progress.

    Returns:
        The outcome; a failed trial does not raise and does not stop the others.

    Raises:
        ConfigError: If the cluster does not exist or can never hold one of the trials.
    """
    skipped = tuple(t for t in trials if trial_state(t.run_dir, t.run_id) is TrialState.FINISHED)
    pending = [t for t in trials if t not in skipped]
    if stop.requested:
        return _outcome(trials, skipped, stop)
    for trial in pending:
        write_json(trial.run_dir / CONFIG_FILE, trial.config)
        write_status(trial.run_dir, TrialState.PENDING)
    groups = list(teachers_first(pending))
    for i, group in enumerate(groups):
        ready = [trial for trial in group if stop.requested or has_its_teacher(trial)]
        later = [trial.workers for others in groups[i + 1 :] for trial in others]
        if ready and not stop.requested:
            _run_group(ready, settings, later=later, stop=stop, on_poll=on_poll)
    return _outcome(trials, skipped, stop)


def _run_group(
    group: Sequence[TrialSpec],
    settings: SweepSettings,
    *,
    later: Sequence[WorkerGroup],
    stop: StopSignal,
    on_poll: Callable[[], None],
) -> None:
    """Run the trials; where their private cluster dies, what is left of them goes to another."""
    for lives_left in reversed(range(1 + settings.max_failures)):
        launch_dir = new_numbered_dir(settings.sweep_dir / "ray")
        unsettled = [trial for trial in group if not _is_settled(trial)]
        for trial in unsettled:
            write_status(trial.run_dir, TrialState.PENDING, launch_id=launch_dir.name)
        try:
            _run_pending(unsettled, settings, launch_dir, later=later, stop=stop, on_poll=on_poll)
        except ClusterLostError as lost:
            if not lives_left or stop.requested:
                raise
            logger.warning("%s; going on with a new one, from the last checkpoints", lost)
        else:
            return


def _is_settled(trial: TrialSpec) -> bool:
    """Whether the trial has its result or its verdict."""
    return trial_state(trial.run_dir, trial.run_id) in (TrialState.FINISHED, TrialState.FAILED)


def _run_pending(
    pending: Sequence[TrialSpec],
    settings: SweepSettings,
    launch_dir: Path,
    *,
    later: Sequence[WorkerGroup],
    stop: StopSignal,
    on_poll: Callable[[], None],
) -> None:
    try:
        tune_run = _run_tune(pending, settings, launch_dir, later=later, stop=stop, on_poll=on_poll)
    except BaseException as error:
        with suppress(StorageError):  # what is told is why the sweep ends
            _mark_running(pending, launch_dir, f"the sweep's driver ended: {error}")
        raise
    if stop.requested:
        _mark_stopped(pending, launch_dir, f"stopped by {stop.name}")
    else:
        _mark_unsettled(pending, launch_dir, tune_run.error)
    on_poll()


def _run_tune(
    pending: Sequence[TrialSpec],
    settings: SweepSettings,
    launch_dir: Path,
    *,
    later: Sequence[WorkerGroup],
    stop: StopSignal,
    on_poll: Callable[[], None],
) -> TuneRun:
    # Imported here: skipping a finished sweep, or rejecting a wrong one, must not wait for Ray.
    from orchestrator.execution.cluster import cluster, driver_output

    cap = settings.max_concurrent_trials
    with driver_output(launch_dir / "driver.log"), cluster(settings.address) as nodes:
        # What waits for teachers counts too: that it can never fit must not be found out then.
        groups = [trial.workers for trial in pending]
        needs = [*groups, *later]
        for line in plan_placement(nodes(), needs, cap).lines():
            logger.info(line)
        stop.install()  # Ray has just put its own handlers in place
        stop_file = launch_dir / "save-and-leave"
        cells = [_cell(trial, launch_dir, stop_file, settings.max_failures) for trial in pending]
        tune_run = TuneRun(
            cells,
            launch_dir,
            nodes=nodes,
            cap=cap,
            slots=side_by_side(nodes(), groups, cap),
            max_failures=settings.max_failures,
        )
        tune_run.start()
        lost = None
        try:
            lost = _watch(tune_run, stop, on_poll)
            if stop.requested and lost is None:
                StopFile(stop_file).ask()
                _wait_until_saved(pending, stop.name)
        finally:
            tune_run.end()
        if lost is not None and tune_run.is_alive():
            # Its thread would go on in the next cluster of this process.
            raise AptError(f"{lost}, and Ray does not let go of it; the same command continues")
        if lost is not None:
            raise lost
    return tune_run


def _watch(
    tune_run: TuneRun, stop: StopSignal, on_poll: Callable[[], None]
) -> ClusterLostError | None:
    """Wait for the end, for a stop, or for the end of the cluster, which is returned."""
    processes = vital_processes()
    lost = None
    while tune_run.is_alive() and not stop.requested and lost is None:
        on_poll()
        tune_run.join(POLL_S)
        lost = find_dead(processes)
    return lost


def _wait_until_saved(pending: Sequence[TrialSpec], signal_name: str) -> None:
    """Until no training runs any more, each having saved its last step, or time is up."""
    logger.info(
        "%s: running trials save their last step, which may take %.0f s; the same command "
        "continues. Once more ends everything at once.",
        signal_name,
        SAVE_TIMEOUT_S,
    )
    deadline = time.monotonic() + SAVE_TIMEOUT_S
    while time.monotonic() < deadline and any(
        trial_state(t.run_dir, t.run_id) is TrialState.RUNNING for t in pending
    ):
        time.sleep(POLL_S)


def _cell(trial: TrialSpec, launch_dir: Path, stop_file: Path, max_failures: int) -> dict[str, Any]:
    """What the Tune function gets (see `train_run.run_trial`)."""
    return {
        "payload": trial.payload(launch_dir.name, stop_file) | {"queued_us": now_us()},
        "max_failures": max_failures,
        "storage": str(launch_dir / "train"),
    }


def _mark_running(pending: Sequence[TrialSpec], launch_dir: Path, reason: str) -> None:
    """What was running when the sweep ended early is KILLED; what had not started stays PENDING."""
    for trial in pending:
        if trial_state(trial.run_dir, trial.run_id) is TrialState.RUNNING:
            write_status(trial.run_dir, TrialState.KILLED, reason=reason, launch_id=launch_dir.name)


def _mark_stopped(pending: Sequence[TrialSpec], launch_dir: Path, reason: str) -> None:
    """Who asked goes before what the training itself said when it left."""
    _mark_running(pending, launch_dir, reason)
    for trial in pending:
        status = read_status(trial.run_dir)
        is_own = status.launch_id == launch_dir.name and not status.reason.startswith(reason)
        if status.state is TrialState.KILLED and is_own:
            told = f"{reason}: {status.reason}"
            write_status(
                trial.run_dir,
                TrialState.KILLED,
                reason=told,
                launch_id=launch_dir.name,
                node=status.node,
            )


def _mark_unsettled(
    pending: Sequence[TrialSpec], launch_dir: Path, error: BaseException | None
) -> None:
    """Tune has ended: whatever has neither result nor verdict has failed."""
    reason = f"Ray gave up on the trial: {error or 'see ' + str(launch_dir)}"
    for trial in pending:
        if not _is_settled(trial):
            write_status(trial.run_dir, TrialState.FAILED, reason=reason, launch_id=launch_dir.name)


def _outcome(
    trials: Sequence[TrialSpec], skipped: tuple[TrialSpec, ...], stop: StopSignal
) -> SweepOutcome:
    states = {t.run_id: trial_state(t.run_dir, t.run_id) for t in trials}
    failures = tuple(
        TrialFailure(t.run_id, t.label, read_status(t.run_dir).reason, t.run_dir / WORKER_LOG)
        for t in trials
        if states[t.run_id] is TrialState.FAILED
    )
    finished = tuple(t for t in trials if states[t.run_id] is TrialState.FINISHED)
    return SweepOutcome(finished, skipped, failures, stop.name)

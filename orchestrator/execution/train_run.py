"""The Tune function: one trial is one Ray Train run (Train V2) of `train_in_worker`."""

import logging
import os
from pathlib import Path
from typing import Any

from ray import tune
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.api.exceptions import TrainingFailedError, WorkerGroupError

from apt_core.trace import now_us
from orchestrator.execution.folders import new_numbered_dir
from orchestrator.execution.process_group import ProcessGroupConfig, TorchWorkersTrainer
from orchestrator.execution.status import TrialState, finished_report, read_status, write_status
from orchestrator.execution.trial import WorkerGroup
from orchestrator.execution.trial_trace import trace_end
from orchestrator.execution.worker import train_in_worker

logger = logging.getLogger(__name__)

TRAIN_ENV = {
    # The default of 2 s delays the first step, every report and the end of a run.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    # Prometheus metrics of the controller: nobody scrapes them, and they cost start-up time.
    "RAY_TRAIN_METRICS_ENABLED": "0",
}


class SweepStoppedError(Exception):
    """Carries a stop of the driver through `Tuner.fit`, which then lets go of its trials."""


class StopTune(tune.Callback):
    """Ends a Tune run from outside: Tune looks at it before each of its steps.

    Args:
        stop_file: Asks for the stop by existing; Tune pickles its callbacks, so no event objects.
    """

    def __init__(self, stop_file: Path) -> None:
        self._stop_file = stop_file

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Raise `SweepStoppedError` once a stop is wanted."""
        if self._stop_file.exists():
            raise SweepStoppedError


class TellLosses(tune.Callback):
    """Says in one line what Tune would print a traceback for."""

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial's driver, or Ray's controller below it, has died; the trial is run again."""
        logger.warning("trial %s lost its driver; it goes on from its last checkpoint", trial)


def run_trial(config: dict[str, Any]) -> None:
    """Run one trial and leave the verdict in its folder; a failed training does not raise.

    What does raise is the death of Ray's controller: Tune then runs the trial again (see
    `tune_run`), and the training goes on from its checkpoint.

    Args:
        config: Under ``cell`` (the one key of the grid search): ``payload`` of the trial,
            ``max_failures`` and ``storage``, a folder for Ray's own files.
    """
    cell = config["cell"]
    payload = {**cell["payload"], "placed_us": now_us()}
    run_dir, run_id = Path(payload["run_dir"]), payload["run_id"]
    os.environ.update(TRAIN_ENV)
    try:
        _ray_trainer({**cell, "payload": payload}).fit()
    except TrainingFailedError as error:
        _record_failure(payload, error)
    trace_end(run_dir)
    if finished_report(run_dir, run_id) is None:
        _record_failure(payload, None)
        tune.report({"state": str(read_status(run_dir).state)})
        return
    tune.report({"state": str(TrialState.FINISHED), **_final_values(run_dir, run_id)})


def _ray_trainer(cell: dict[str, Any]) -> Any:
    payload = cell["payload"]
    workers = WorkerGroup(**payload["workers"])
    resources = {"CPU": workers.cpus_per_worker}
    if workers.gpus_per_worker:
        resources["GPU"] = workers.gpus_per_worker
    if workers.memory_per_worker_gib:
        resources["memory"] = int(workers.memory_per_worker_gib * 2**30)
    return TorchWorkersTrainer(
        train_in_worker,
        train_loop_config=payload,
        backend_config=ProcessGroupConfig(workers.backend, workers.collective_timeout_s),
        scaling_config=ScalingConfig(
            num_workers=workers.num_workers,
            use_gpu=workers.gpus_per_worker > 0,
            resources_per_worker=resources,
        ),
        run_config=RunConfig(
            name=payload["run_id"],
            # Ray silently resumes what lies in an old folder, its count of failures included.
            storage_path=str(new_numbered_dir(Path(cell["storage"]) / payload["run_id"])),
            failure_config=FailureConfig(max_failures=cell["max_failures"]),
        ),
    )


def _record_failure(payload: dict[str, Any], error: TrainingFailedError | None) -> None:
    """Write FAILED, unless this launch has a more precise reason, or the trial was stopped."""
    run_dir, launch_id = Path(payload["run_dir"]), payload["launch_id"]
    status = read_status(run_dir)
    settled = status.state in (TrialState.FAILED, TrialState.KILLED)
    if settled and status.launch_id == launch_id:
        return
    if error is None and Path(payload["stop_file"]).exists():
        return  # it was stopped before it began
    reason = failure_reason(error) if error else "the training ended without a valid result.json"
    write_status(run_dir, TrialState.FAILED, reason=reason, launch_id=launch_id)


def failure_reason(error: BaseException) -> str:
    """The last line of what the lowest failing worker said, or of Ray's own message."""
    if isinstance(error, WorkerGroupError) and error.worker_failures:
        rank, failure = min(error.worker_failures.items())
        return f"worker {rank}: {_last_line(failure)}"
    return _last_line(error)


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _final_values(run_dir: Path, run_id: str) -> dict[str, float]:
    report = finished_report(run_dir, run_id)
    return {"metric": report.metric, "sparsity": report.sparsity} if report else {}

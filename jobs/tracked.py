"""Tracking around a sweep: started beside Ray, fed by the trial folders, flushed at the end."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from apt_core.trace import span
from jobs.planning import Plan, PlannedTrial
from orchestrator.identity import GRID_PATHS, sweep_id
from orchestrator.tracking.mlflow_sink import import_client
from orchestrator.tracking.outbox import Shipper
from orchestrator.tracking.session import open_tracking
from orchestrator.tracking.sink import TrialInfo

SWEEP_FILES = (
    "config.json",
    "sweep.json",
    "report/report.md",
    "report/report.html",
    "report/table.tex",
    "report/table.csv",
    "report/table.parquet",
    "report/runs.csv",
    "report/runs.parquet",
    "report/cells.csv",
    "report/cells.parquet",
)
MAX_PARAM_LENGTH = 500


class TrackingStart(threading.Thread):
    """Opens tracking in the background; `check` raises what went wrong, in the driver's thread.

    Args:
        plan: The sweep to track.
        stack: Will close what is opened.
    """

    def __init__(self, plan: Plan, stack: ExitStack) -> None:
        super().__init__(name="tracking-start", daemon=True)
        self._plan = plan
        self._stack = stack
        self._error: BaseException | None = None
        self._shipper: Shipper | None = None

    def run(self) -> None:
        """Open the tracker and hand it every folder of the sweep."""
        config = self._plan.config
        try:
            shipper = self._stack.enter_context(
                open_tracking(
                    config.tracking.uri,
                    results_dir=config.orchestration.results_path,
                    experiment=config.tracking.experiment or config.name,
                )
            )
            _add_folders(shipper, self._plan)
            self._shipper = shipper
        except BaseException as error:
            self._error = error

    @property
    def lag_s(self) -> float:
        """How late the tracker is, in seconds; 0 before it has started."""
        return 0.0 if self._shipper is None else self._shipper.lag_s

    def check(self) -> None:
        """Raise the error of a start that failed: a sweep must not run untracked unnoticed."""
        if self._error is not None:
            raise self._error


@contextmanager
def tracking(plan: Plan) -> Iterator[TrackingStart | None]:
    """Track the sweep inside the block, unless tracking is switched off.

    Args:
        plan: The sweep.

    Yields:
        TrackingStart | None: The start, whose `check` is to be called now and then; None when
        tracking is off.
    """
    if not plan.config.tracking.enabled:
        yield None
        return
    stack = ExitStack()
    start = TrackingStart(plan, stack)
    import_client()  # before there are two threads that do
    start.start()
    try:
        yield start
    finally:
        with span("tracking"), stack:  # delivers what is left
            start.join()
    start.check()


def _add_folders(shipper: Shipper, plan: Plan) -> None:
    parent = sweep_info(plan)
    shipper.add(parent)
    for trial in plan.trials:
        shipper.add(trial_info(trial, parent))


def sweep_info(plan: Plan) -> TrialInfo:
    """The sweep's own folder, the parent of all trials."""
    return TrialInfo(
        run_id=sweep_id(spec.run_id for spec in plan.specs),
        name=plan.config.name,
        directory=plan.sweep_dir,
        artifacts=SWEEP_FILES,
    )


def trial_info(trial: PlannedTrial, parent: TrialInfo) -> TrialInfo:
    """One trial's folder with its grid keys and its settings, each under one name."""
    spec = trial.spec
    params = flat_params(spec.config)
    return TrialInfo(
        run_id=spec.run_id,
        name=spec.label,
        directory=spec.run_dir,
        keys=trial.cell.keys,
        # Twice the same axis is in the way where MLflow lists what tells runs apart.
        params={k: v for k, v in params.items() if k not in GRID_PATHS.values()},
        tags={"command": spec.command},
        parent=parent,
    )


def flat_params(config: object, prefix: str = "") -> dict[str, str]:
    """A configuration as dotted parameters; catalogues and the cluster's sections are left out."""
    if not isinstance(config, dict):
        return {prefix.removesuffix("."): str(config)[:MAX_PARAM_LENGTH]}
    flat: dict[str, str] = {}
    for key, value in config.items():
        path = f"{prefix}{key}"
        if path not in {"model.architectures", "data.datasets", "orchestration", "tracking"}:
            flat |= flat_params(value, f"{path}.")
    return flat

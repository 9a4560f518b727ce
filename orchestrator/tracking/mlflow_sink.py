"""`MlflowSink`: a parent run per sweep, a child run per trial; `mlflow_source` reads them again.

MLflow is imported inside functions: it takes a second, and wrong input is answered before.
"""

import logging
import math
import os
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from apt_core.errors import TrackingError
from apt_core.report import StepMetrics
from orchestrator.tracking.mlflow_view import VIEW_TAG, grid_view
from orchestrator.tracking.sink import DeliveryError, EndState, TrialInfo
from orchestrator.tracking.uri import QUIET_ENV, bypass_proxy_for_loopback, redact

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run
    from mlflow.tracking import MlflowClient

logger = logging.getLogger(__name__)

RUN_TAG = "aptune.run_id"
KIND_TAG = "aptune.kind"
REASON_TAG = "aptune.reason"
PARENT_TAG = "mlflow.parentRunId"
SWEEP, TRIAL = "sweep", "trial"
"""The values of `KIND_TAG`."""

METRICS_PER_BATCH = 1000
PARAMS_PER_BATCH = 100
MAX_PARAM_LENGTH = 6000
MAX_TAG_LENGTH = 8000
MAX_KEY_LENGTH = 250

_CLIENT_ENV = {
    **QUIET_ENV,
    # By default a call to an absent server blocks for four minutes; the shipper repeats anyway.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
}
_REFUSED = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST"}
_REFUSED_HTTP = {400, 403, 405, 411, 413, 414, 415, 422}
_FORBIDDEN = re.compile(r"[^/\w.\- :]")

_Item = TypeVar("_Item")


class MlflowSink:
    """`MetricSink` for MLflow, over `MlflowClient` alone: the fluent API is bound to a thread.

    Nothing is contacted before `open`.

    Args:
        uri: The tracking server, or another address that MLflow knows, like ``sqlite:///file.db``.
        experiment: Name of the MLflow experiment; created if there is none.
    """

    def __init__(self, uri: str, experiment: str) -> None:
        self._uri = uri
        self._experiment = experiment
        self._experiment_id = ""
        self._store = ""
        self._parents: dict[str, str] = {}
        self._client: MlflowClient | None = None

    @property
    def store(self) -> str:
        """Name, id and birth of the experiment: a server restarted on another port has the same."""
        return self._store

    def open(self) -> None:
        """Connect, and find or create the experiment and its view of the grid.

        Raises:
            TrackingError: If the server is away, refuses us, or the experiment lies in its bin.
        """
        from mlflow.exceptions import MlflowException

        try:
            self._client = connect(self._uri)
            self._use_experiment(self._client)
        except (MlflowException, OSError, ValueError, ImportError) as error:
            raise TrackingError(
                f"tracking.uri: MLflow cannot be used: {redact(first_line(error))} "
                f"(got {redact(self._uri)}); start the server, correct the address or the "
                "credentials, or set tracking.enabled=false"
            ) from error

    def start_trial(self, trial: TrialInfo, *, replace: bool = False) -> str:
        """Find the run of `trial` by its tag, or create it; see `MetricSink.start_trial`."""
        with _delivering():
            parent = None if trial.parent is None else self._parent_run(trial.parent)
            runs = self._find(trial, parent)
            if replace:
                for run in runs:
                    self._live.delete_run(run.info.run_id)
                runs = []
            return self._resume(runs[0], trial) if runs else self._create(trial, parent)

    def log(self, run: str, metrics: Sequence[StepMetrics]) -> None:
        """Deliver metrics in batches that the server accepts; see `MetricSink.log`."""
        with _delivering():
            for batch in _batches(_entities(metrics), METRICS_PER_BATCH):
                self._live.log_batch(run, metrics=batch, synchronous=True)

    def log_artifact(self, run: str, path: Path, folder: str = "") -> None:
        """Upload one file; see `MetricSink.log_artifact`."""
        with _delivering():
            self._live.log_artifact(run, str(path), folder or None)

    def finish_trial(self, run: str, state: EndState, *, time_ms: int, reason: str = "") -> None:
        """Close a run; see `MetricSink.finish_trial`."""
        with _delivering():
            if reason:
                self._live.set_tag(run, REASON_TAG, reason[:MAX_TAG_LENGTH])
            self._live.set_terminated(run, state, end_time=time_ms)

    def close(self) -> None:
        """Forget the client."""
        self._client = None

    @property
    def _live(self) -> "MlflowClient":
        if self._client is None:
            raise DeliveryError("the MLflow sink is not open")
        return self._client

    def _use_experiment(self, client: "MlflowClient") -> None:
        experiment = client.get_experiment_by_name(self._experiment)
        if experiment is None:
            experiment = client.get_experiment(client.create_experiment(self._experiment))
        if experiment.lifecycle_stage != "active":
            todo = "restore it or choose another name with tracking.experiment"
            raise ValueError(f"experiment {self._experiment!r} is deleted; {todo}")
        if VIEW_TAG not in experiment.tags:  # or somebody has saved a better one in its place
            view = grid_view(experiment.creation_time)
            client.set_experiment_tag(experiment.experiment_id, VIEW_TAG, view)
        self._experiment_id = experiment.experiment_id
        self._store = f"{self._experiment}:{experiment.experiment_id}:{experiment.creation_time}"

    def _parent_run(self, sweep: TrialInfo) -> str:
        """The sweep's run, created if there is none; an ended one is not opened again by this."""
        if sweep.run_id not in self._parents:
            runs = self._find(sweep, None)
            run = runs[0].info.run_id if runs else self._create(sweep, None)
            self._parents[sweep.run_id] = run
        return self._parents[sweep.run_id]

    def _find(self, trial: TrialInfo, parent: str | None) -> "list[Run]":
        wanted = {RUN_TAG: trial.run_id, KIND_TAG: _kind(trial)}
        if parent is not None:
            wanted[PARENT_TAG] = parent
        condition = " and ".join(f"tags.`{key}` = '{value}'" for key, value in wanted.items())
        found = self._live.search_runs(
            [self._experiment_id], condition, order_by=["attributes.start_time ASC"]
        )
        return list(found)

    def _create(self, trial: TrialInfo, parent: str | None) -> str:
        tags = {RUN_TAG: trial.run_id, KIND_TAG: _kind(trial)}
        if parent is not None:
            tags[PARENT_TAG] = parent
        run = self._live.create_run(self._experiment_id, tags=tags, run_name=trial.name)
        self._describe(run, trial)
        return str(run.info.run_id)

    def _resume(self, run: "Run", trial: TrialInfo) -> str:
        if run.info.status != "RUNNING":
            self._live.update_run(run.info.run_id, status="RUNNING")
        self._describe(run, trial)
        return str(run.info.run_id)

    def _describe(self, run: "Run", trial: TrialInfo) -> None:
        """Log what is still missing: a run may have been interrupted in the middle of this."""
        from mlflow.entities import Param, RunTag

        params = {_key(k): v[:MAX_PARAM_LENGTH] for k, v in {**trial.params, **trial.keys}.items()}
        tags = {_key(k): v[:MAX_TAG_LENGTH] for k, v in {**trial.tags, **trial.keys}.items()}
        # Parameters cannot be changed, and one that differs would make MLflow refuse all of them.
        new_params = _missing(params, run.data.params)
        for batch in _batches((Param(k, v) for k, v in new_params.items()), PARAMS_PER_BATCH):
            self._live.log_batch(run.info.run_id, params=batch, synchronous=True)
        new_tags = {k: v for k, v in tags.items() if run.data.tags.get(k) != v}
        for tag_batch in _batches((RunTag(k, v) for k, v in new_tags.items()), PARAMS_PER_BATCH):
            self._live.log_batch(run.info.run_id, tags=tag_batch, synchronous=True)


def import_client() -> None:
    """Import MLflow's client, with what it reads from the environment set.

    Tune imports MLflow too, in the driver's thread. Two threads inside MLflow's circular imports
    each see half of it, so the driver calls this before another thread opens a sink.
    """
    for name, value in _CLIENT_ENV.items():
        os.environ.setdefault(name, value)
    import mlflow.tracking  # noqa: F401


def connect(uri: str) -> "MlflowClient":
    """A client that says nothing, calls home nowhere, and gives up soon.

    Args:
        uri: The tracking server, or another address that MLflow knows.

    Returns:
        The client; nothing has been asked yet.
    """
    import_client()
    bypass_proxy_for_loopback(uri)
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=uri)


def _kind(trial: TrialInfo) -> str:
    return SWEEP if trial.parent is None else TRIAL


@contextmanager
def _delivering() -> Iterator[None]:
    """Turn what the client raises into `DeliveryError`."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        is_refused = error.error_code in _REFUSED
        raise DeliveryError(redact(first_line(error)), is_permanent=is_refused) from error
    except OSError as error:
        # An artifact that is refused comes as an error of the HTTP client.
        status = getattr(getattr(error, "response", None), "status_code", None)
        is_refused = status in _REFUSED_HTTP
        raise DeliveryError(redact(first_line(error)), is_permanent=is_refused) from error


def first_line(error: BaseException) -> str:
    """What an error says, without the traces that MLflow appends; never empty."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _missing(params: Mapping[str, str], logged: Mapping[str, str]) -> dict[str, str]:
    changed = sorted(key for key in params if key in logged and logged[key] != params[key])
    if changed:
        logger.info("MLflow keeps the first value of changed parameters: %s", ", ".join(changed))
    return {key: value for key, value in params.items() if key not in logged}


def _entities(metrics: Iterable[StepMetrics]) -> "Iterator[Metric]":
    from mlflow.entities import Metric

    for step in metrics:
        for key, value in step.values.items():
            yield Metric(_key(key), _finite_or_nan(value), step.time_ms, step.step)


def _finite_or_nan(value: float) -> float:
    """MLflow stores infinity as 1.8e308, the end of any chart; ``metrics.jsonl`` keeps it."""
    return value if math.isfinite(value) else math.nan


def _key(name: str) -> str:
    """The name with what MLflow forbids in it replaced; ours are left as they are."""
    allowed = posixpath.normpath(_FORBIDDEN.sub("_", name)).lstrip("/.")
    return (allowed or "_")[:MAX_KEY_LENGTH]


def _batches(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch

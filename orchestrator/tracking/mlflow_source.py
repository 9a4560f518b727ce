"""`MlflowSource`: reads from MLflow what `MlflowSink` has written there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apt_core.errors import TrackingError
from apt_core.report import StepMetrics
from orchestrator.tracking.mlflow_sink import (
    KIND_TAG,
    PARENT_TAG,
    REASON_TAG,
    RUN_TAG,
    SWEEP,
    TRIAL,
    connect,
    first_line,
)
from orchestrator.tracking.sink import SUMMARY_PREFIX
from orchestrator.tracking.source import TrackedRun
from orchestrator.tracking.uri import redact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

RUNS_PER_PAGE = 1000
EXPERIMENTS_PER_PAGE = 1000
_SQLITE = "sqlite:///"


class MlflowSource:
    """`MetricSource` for MLflow.

    Args:
        uri: The tracking server, or another address that MLflow knows.

    Raises:
        TrackingError: If there is nothing to read at the address.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        # MLflow would make an empty database where there is none.
        if uri.startswith(_SQLITE) and not Path(uri.removeprefix(_SQLITE)).is_file():
            raise TrackingError(f"--tracking-uri: there is no such file (got {redact(uri)})")
        with self._reading():
            self._client: MlflowClient = connect(uri)

    def sweeps(self, experiment: str | None = None) -> "Sequence[TrackedRun]":
        """The parent runs; see `MetricSource.sweeps`."""
        with self._reading():
            names = self._experiment_names(experiment)
            return self._search(names, f"tags.`{KIND_TAG}` = '{SWEEP}'") if names else []

    def trials(self, sweep: TrackedRun) -> "Sequence[TrackedRun]":
        """The child runs; see `MetricSource.trials`."""
        condition = f"tags.`{KIND_TAG}` = '{TRIAL}' and tags.`{PARENT_TAG}` = '{sweep.run}'"
        with self._reading():
            return self._search(self._experiment_names(sweep.experiment), condition)

    def download(self, run: TrackedRun, names: "Sequence[str]", folder: Path) -> frozenset[str]:
        """Fetch artifacts; see `MetricSource.download`."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        with self._reading():
            artifacts = get_artifact_repository(run.artifact_uri, self._uri)
            there = {file.path for file in artifacts.list_artifacts() if not file.is_dir}
            wanted = [name for name in names if name in there]
            for name in wanted:
                # What every kind of store implements. `download_artifacts` lists the folder
                # again for each file, which doubles the time of a large sweep.
                artifacts._download_file(name, str(folder / name))
        return frozenset(wanted)

    def history(self, run: TrackedRun) -> list[StepMetrics]:
        """The metrics as lines of a log; see `MetricSource.history`."""
        lines: dict[tuple[int, int], dict[str, float]] = {}
        with self._reading():
            for name in run.metric_names:
                if not name.startswith(SUMMARY_PREFIX):
                    for point in self._client.get_metric_history(run.run, name):
                        lines.setdefault((point.step, point.timestamp), {})[name] = point.value
        return [StepMetrics(step, ms, values) for (step, ms), values in sorted(lines.items())]

    def _experiment_names(self, wanted: str | None) -> dict[str, str]:
        """Experiment id -> name."""
        found = _all_pages(
            lambda token: self._client.search_experiments(
                max_results=EXPERIMENTS_PER_PAGE, page_token=token
            )
        )
        names = {str(experiment.experiment_id): str(experiment.name) for experiment in found}
        return {id_: name for id_, name in names.items() if wanted in (None, name)}

    def _search(self, experiments: dict[str, str], condition: str) -> list[TrackedRun]:
        found = _all_pages(
            lambda token: self._client.search_runs(
                [*experiments], condition, max_results=RUNS_PER_PAGE, page_token=token
            )
        )
        return [_tracked_run(run, experiments[run.info.experiment_id]) for run in found]

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Turn what the client raises into `TrackingError`."""
        from mlflow.exceptions import MlflowException

        try:
            yield
        except (MlflowException, OSError, ValueError, ImportError) as error:
            raise TrackingError(
                f"--tracking-uri: MLflow cannot be read: {redact(first_line(error))} (got "
                f"{redact(self._uri)}); start the server (for a results folder: aptune ui "
                "RESULTS_DIR), or correct the address or the credentials"
            ) from error


def _tracked_run(run: "Run", experiment: str) -> TrackedRun:
    info, tags = run.info, run.data.tags
    return TrackedRun(
        run=str(info.run_id),
        run_id=str(tags.get(RUN_TAG, "")),
        name=str(info.run_name),
        experiment=experiment,
        state=str(info.status),
        reason=str(tags.get(REASON_TAG, "")),
        start_ms=int(info.start_time or 0),
        end_ms=int(info.end_time or 0),
        metric_names=tuple(sorted(run.data.metrics)),
        artifact_uri=str(info.artifact_uri),
    )


def _all_pages(ask: Callable[[str | None], Any]) -> list[Any]:
    """What all pages of an answer hold."""
    found: list[Any] = []
    token: str | None = None
    while True:
        page = ask(token)
        found.extend(page)
        token = page.token
        if not token:
            return found

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from apt_core.errors import TrackingError
from apt_core.report import StepMetrics
from apt_core.trainer.metric_log import JsonlWriter
from orchestrator.execution.status import TrialState, write_status
from orchestrator.tracking.session import open_tracking
from orchestrator.tracking.sink import TrialInfo


def test_an_unreachable_server_is_an_error_before_anything_starts(tmp_path: Path) -> None:
    with (
        pytest.raises(TrackingError, match="does not serve us"),
        open_tracking("http://127.0.0.1:9", results_dir=tmp_path, experiment="x"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_kind_of_address_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(TrackingError, match="MLflow cannot be used"),
        open_tracking("nonsense://u:secret@somewhere", results_dir=tmp_path, experiment="x"),
    ):
        pass


def test_leaving_the_block_delivers_what_the_folders_hold(
    tmp_path: Path,
    sweep: TrialInfo,
    trial: TrialInfo,
    step_metrics: Callable[[int], StepMetrics],
    caplog: pytest.LogCaptureFixture,
) -> None:
    uri = f"sqlite:///{tmp_path / 'direct.db'}"
    with open_tracking(uri, results_dir=tmp_path, experiment="x", flush_timeout_s=120.0) as shipper:
        shipper.add(sweep)
        shipper.add(trial)
        write_status(sweep.directory, TrialState.RUNNING)
        with JsonlWriter(trial.directory / "metrics.jsonl") as writer:
            writer.write(step_metrics(1))
        write_status(trial.directory, TrialState.KILLED)
        write_status(sweep.directory, TrialState.KILLED)
    assert "not delivered" not in caplog.text

    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("x")
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.run_name: run.info.status for run in runs} == {
        "a sweep": "KILLED",
        "apt 0.6": "KILLED",
    }


@pytest.mark.services
def test_a_local_server_runs_beside_the_sweep_and_ends_with_it(
    tmp_path: Path, trial: TrialInfo, step_metrics: Callable[[int], StepMetrics]
) -> None:
    results = tmp_path / "results"
    with open_tracking(None, results_dir=results, experiment="x", flush_timeout_s=120.0) as shipper:
        shipper.add(trial)
        with JsonlWriter(trial.directory / "metrics.jsonl") as writer:
            writer.write(step_metrics(1))
        write_status(trial.directory, TrialState.KILLED)
    assert _shippers() == []
    with sqlite3.connect(results / "mlflow.db") as database:
        rows = database.execute("select key, step from metrics").fetchall()
        states = database.execute("select name, status from runs").fetchall()
    assert rows == [("train/loss", 1)]
    assert ("apt 0.6", "KILLED") in states


def _shippers() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name == "metric-shipper"]


def test_wrong_input_is_answered_without_importing_mlflow() -> None:
    code = (
        "import sys, orchestrator.tracking.session, orchestrator.identity; "
        "sys.exit(any(name in sys.modules for name in ('mlflow', 'ray', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

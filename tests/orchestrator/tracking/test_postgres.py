"""The tracking server of docker/: MLflow with accounts on a real PostgreSQL, our sink before it."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from apt_core.errors import TrackingError
from apt_core.report import StepMetrics
from apt_core.trainer.metric_log import JsonlWriter
from orchestrator.execution.status import TrialState, write_status
from orchestrator.tracking.cursor import CURSOR_FILE
from orchestrator.tracking.outbox import Shipper
from orchestrator.tracking.session import open_tracking
from orchestrator.tracking.sink import TrialInfo
from tests.nightly import nightly
from tests.servers import DOCKER, Row, Server, Tracking, postgres, query, tracking

pytestmark = [pytest.mark.services, pytest.mark.timeout(600)]
NUM_STEPS = 400
USER = "aptune"
RUNS = "select run_uuid, name, status from runs order by name"
POINTS = "select count(*), count(distinct step) from metrics where key = 'train/loss'"
REVISIONS = "select version_num from alembic_version"


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secrets")
    subprocess.run([DOCKER / "make-secrets.sh", folder], check=True)
    return folder


@pytest.fixture(scope="module")
def database(secrets: Path) -> Iterator[Server]:
    with postgres((secrets / "postgres_password").read_text()) as server:
        yield server


@pytest.fixture(scope="module")
def prepared(database: Server, secrets: Path, tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    """Migrated, once; the server has not been started yet."""
    told = tracking(tmp_path_factory.mktemp("tracking"), database, secrets)
    done = told.prepare()
    assert done.returncode == 0, done.stdout + done.stderr
    return told


@pytest.fixture(scope="module")
def address(prepared: Tracking) -> Iterator[str]:
    with prepared.serving() as address:
        yield address


def rows(database: Server, secrets: Path, statement: str, name: str = "mlflow") -> list[Row]:
    return query(database, (secrets / "postgres_password").read_text(), statement, name)


@contextmanager
def launch(address: str, folder: Path, *trials: TrialInfo) -> Iterator[Shipper]:
    with open_tracking(
        address, results_dir=folder, experiment="team", flush_timeout_s=120
    ) as shipper:
        for trial in trials:
            shipper.add(trial)
        yield shipper


def test_the_server_finds_a_migrated_database_and_migrates_nothing(
    database: Server, secrets: Path, prepared: Tracking, address: str
) -> None:
    before = rows(database, secrets, REVISIONS)
    assert len(before) == 1
    accounts = "select version_num from alembic_version_auth"
    assert len(rows(database, secrets, accounts, "mlflow_auth")) == 1
    log = (prepared.folder / "server.log").read_text()
    assert "Running upgrade" not in log
    assert "initial MLflow database tables" not in log
    assert rows(database, secrets, REVISIONS) == before


def test_passwords_stand_in_no_command_line_and_no_log(
    prepared: Tracking, secrets: Path, address: str
) -> None:
    import psutil

    port = address.rpartition(":")[2]
    lines = [" ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])]
    told = [line for line in lines if f"--port={port}" in line or f"--port {port}" in line]
    assert told
    told.append((prepared.folder / "server.log").read_text())
    for secret in secrets.iterdir():
        assert not [text for text in told if secret.read_text() in text], secret.name


@pytest.mark.parametrize("password", ["", "wrong"])
def test_strangers_are_refused_before_anything_is_trained(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    if password:
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", USER)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)
    with pytest.raises(TrackingError, match=r"credentials|PASSWORD"), launch(address, tmp_path):
        pass


def test_a_lost_driver_and_a_lost_database_cost_no_point_and_double_none(
    address: str,
    database: Server,
    secrets: Path,
    prepared: Tracking,
    sweep: TrialInfo,
    trial: TrialInfo,
    step_metrics: Callable[[int], StepMetrics],
    write_result: Callable[[TrialInfo], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", USER)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", (secrets / "mlflow_password").read_text())
    with JsonlWriter(trial.directory / "metrics.jsonl") as writer:
        for step in range(NUM_STEPS):
            writer.write(step_metrics(step))
    write_status(sweep.directory, TrialState.RUNNING)
    write_status(trial.directory, TrialState.RUNNING)
    with launch(address, tmp_path, sweep, trial):
        pass  # the driver is gone: nobody has told MLflow how it ended
    left = rows(database, secrets, RUNS)
    assert {name: state for _, name, state in left} == {
        sweep.name: "RUNNING",
        trial.name: "RUNNING",
    }

    (trial.directory / CURSOR_FILE).unlink()  # the worst case: nobody knows what has arrived
    with launch(address, tmp_path, sweep, trial):
        database.restart()  # by SIGKILL, with connections open
        with JsonlWriter(trial.directory / "metrics.jsonl") as writer:
            for step in range(NUM_STEPS, 2 * NUM_STEPS):
                writer.write(step_metrics(step))
        write_result(trial)
        write_status(trial.directory, TrialState.FINISHED)
        write_status(sweep.directory, TrialState.FINISHED)
    ended = rows(database, secrets, RUNS)
    assert [run for run, _, _ in ended] == [run for run, _, _ in left]
    assert {state for _, _, state in ended} == {"FINISHED"}
    assert rows(database, secrets, POINTS) == [(2 * NUM_STEPS, 2 * NUM_STEPS)]

    (uri,) = rows(database, secrets, f"select artifact_uri from runs where name = '{trial.name}'")
    assert uri[0].startswith("mlflow-artifacts:/")  # clients need no key of the store
    (stored,) = (prepared.folder / "artifacts").rglob("result.json")
    assert stored.read_bytes() == (trial.directory / "result.json").read_bytes()
    assert (
        os.environ["MLFLOW_TRACKING_PASSWORD"] not in (prepared.folder / "server.log").read_text()
    )


@nightly("two more starts of MLflow")
def test_preparing_again_changes_nothing(
    database: Server, secrets: Path, prepared: Tracking, address: str
) -> None:
    before = rows(database, secrets, RUNS), rows(database, secrets, REVISIONS)
    done = prepared.prepare()
    assert done.returncode == 0, done.stdout + done.stderr
    assert (rows(database, secrets, RUNS), rows(database, secrets, REVISIONS)) == before

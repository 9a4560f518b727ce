"""What went through our sink into MLflow comes back: the report of both is the same."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from apt_core.errors import DataError, TrackingError
from jobs.tracked import SWEEP_FILES
from orchestrator.execution.local_node import num_local_cpus
from orchestrator.reports.collect import collect
from orchestrator.reports.render import build_report
from orchestrator.reports.table_csv import write_table
from orchestrator.reports.tables import build_tables
from orchestrator.tracking.mlflow_sink import MlflowSink
from orchestrator.tracking.mlflow_source import MlflowSource
from orchestrator.tracking.rebuild import rebuild_sweep
from orchestrator.tracking.server import LocalMlflowServer
from orchestrator.tracking.shipment import TrialShipment
from orchestrator.tracking.sink import TrialInfo
from tests.nightly import nightly
from tests.orchestrator.reports.synthetic_sweep import (
    Trial,
    write_504_trials,
    write_sweep,
    write_trial,
)

pytestmark = pytest.mark.services
FINISHED = [Trial("ft"), Trial("ft", seed=2), Trial("apt", 0.6), Trial("apt", 0.6, seed=2)]
FAILED, RUNNING, AGAIN = Trial("apt", 0.4), Trial("lora"), Trial("apt", 0.3)
REPORT = {
    "report/report.md": "# a report",
    "report/report.html": "<p>a report",
    "report/table.parquet": "PAR1",
}


@pytest.fixture
def sweep_dir(tmp_path: Path) -> Path:
    """Finished, failed, running, and one that failed and was then started again."""
    folder = write_sweep(tmp_path / "runs" / "demo", FINISHED)
    write_trial(
        folder, FAILED, status={"state": "FAILED", "reason": "worker 0:\nno memory"}, stop_at=90
    )
    write_trial(folder, RUNNING, status={"state": "RUNNING"}, stop_at=50)
    write_trial(folder, AGAIN, status={"state": "FAILED", "reason": "killed"}, stop_at=30)
    members = [path.name for path in (folder / "trials").iterdir()]
    (folder / "sweep.json").write_text(json.dumps({"run_ids": members, "time_ms": 1}))
    (folder / "status.json").write_text(json.dumps({"state": "RUNNING"}))
    (folder / "report").mkdir()
    for name, text in REPORT.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def sink(server: LocalMlflowServer, request: pytest.FixtureRequest) -> Iterator[MlflowSink]:
    sink = MlflowSink(server.uri, request.node.name)
    sink.open()
    yield sink
    sink.close()


def ship(sink: MlflowSink, sweep: Path, name: str) -> None:
    """As the sweep's own shipper does it, pass by pass."""
    parent = TrialInfo("5weep", name, sweep, artifacts=SWEEP_FILES)
    folders = sorted((sweep / "trials").iterdir())
    for info in (parent, *(TrialInfo(f.name, f.name, f, parent=parent) for f in folders)):
        shipment = TrialShipment(info, sink)
        shipment.advance()
        shipment.advance()  # brings nothing new


def test_the_records_of_a_server_are_those_of_the_folder(
    sink: MlflowSink, server: LocalMlflowServer, sweep_dir: Path, tmp_path: Path
) -> None:
    ship(sink, sweep_dir, "demo")
    log = sweep_dir / "trials" / AGAIN.run_id / "metrics.jsonl"
    with log.open("a") as lines:
        lines.write(json.dumps({"step": 35, "time_ms": 5, "values": {"train/loss": 1 / 3}}) + "\n")
    (sweep_dir / "trials" / AGAIN.run_id / "status.json").write_text('{"state": "RUNNING"}')
    ship(sink, sweep_dir, "demo")

    source = MlflowSource(server.uri)
    experiment = sink._experiment
    rebuilt = rebuild_sweep(source, "demo", tmp_path / "rebuilt", experiment=experiment)
    ours, theirs = collect(sweep_dir), collect(rebuilt)
    assert ours.num_trials == 7
    assert {t.run_id: t.last_step for t in theirs.unfinished}[AGAIN.run_id] == 35
    # The records are all that a report is made of, and floats compare to the last bit.
    assert theirs == ours
    for folder, records in ((sweep_dir, ours), (rebuilt, theirs)):
        write_table(folder / "table.csv", folder / "table.parquet", build_tables(records))
    assert (rebuilt / "table.csv").read_bytes() == (sweep_dir / "table.csv").read_bytes()
    for trial in FINISHED:
        for name in ("config.json", "result.json", "metrics.jsonl"):
            files = (folder / "trials" / trial.run_id / name for folder in (sweep_dir, rebuilt))
            assert len({file.read_bytes() for file in files}) == 1

    # The report went to the sweep's own run, each file as it is.
    [parent] = source.sweeps(experiment)
    for name, text in REPORT.items():
        path = sink._live.download_artifacts(parent.run, name, str(tmp_path))
        assert Path(path).read_text() == text


def test_a_log_that_was_not_uploaded_is_put_together_to_the_last_digit(
    sink: MlflowSink, server: LocalMlflowServer, sweep_dir: Path, tmp_path: Path
) -> None:
    parent = TrialInfo("5weep", "earlier", sweep_dir)
    folder = sweep_dir / "trials" / FINISHED[2].run_id
    info = TrialInfo(folder.name, "apt", folder, parent=parent, last_artifacts=())
    TrialShipment(info, sink).advance()
    source = MlflowSource(server.uri)
    [run] = source.trials(source.sweeps(sink._experiment)[0])
    assert source.download(run, ("metrics.jsonl",), tmp_path) == frozenset()
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line.to_json() for line in source.history(run)] == lines


def test_experiments_with_a_sweep_of_one_name_must_be_told_apart(
    sink: MlflowSink, server: LocalMlflowServer, sweep_dir: Path, tmp_path: Path
) -> None:
    for experiment in ("one", "another"):
        sink = MlflowSink(server.uri, experiment)
        sink.open()
        sink.start_trial(TrialInfo(experiment, "twice", sweep_dir))
    with pytest.raises(DataError, match="several experiments: another, one"):
        rebuild_sweep(MlflowSource(server.uri), "twice", tmp_path)
    rebuilt = rebuild_sweep(MlflowSource(server.uri), "twice", tmp_path, experiment="one")
    assert collect(rebuilt).num_trials == 0


def test_all_pages_are_read(
    sink: MlflowSink, server: LocalMlflowServer, trial: TrialInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        sink.start_trial(replace(trial, run_id=f"run{number}"))
    source = MlflowSource(server.uri)
    monkeypatch.setattr("orchestrator.tracking.mlflow_source.RUNS_PER_PAGE", 2)
    [parent] = source.sweeps(sink._experiment)
    assert sorted(run.run_id for run in source.trials(parent)) == [f"run{n}" for n in range(5)]


@nightly("ships 504 trials")
def test_504_trials_of_a_server_render_within_30_seconds(
    sink: MlflowSink, server: LocalMlflowServer, tmp_path: Path
) -> None:
    folder = write_504_trials(tmp_path / "runs" / "demo")
    members = [path.name for path in (folder / "trials").iterdir()]
    (folder / "sweep.json").write_text(json.dumps({"run_ids": members, "time_ms": 1}))
    ship(sink, folder, "demo")
    start = time.monotonic()
    rebuilt = rebuild_sweep(
        MlflowSource(server.uri), "demo", tmp_path / "rebuilt", experiment=sink._experiment
    )
    report = build_report(rebuilt, max_processes=num_local_cpus()).markdown.read_text()
    assert time.monotonic() - start < 30
    assert "504 of 504 trials finished" in report


def test_an_absent_server_or_file_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match=r"--tracking-uri: MLflow cannot be read.*aptune ui"):
        MlflowSource("http://127.0.0.1:9").sweeps()
    with pytest.raises(TrackingError, match="no such file"):
        MlflowSource(f"sqlite:///{tmp_path}/mlflow.db")
    assert list(tmp_path.iterdir()) == []

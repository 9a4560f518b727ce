import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from apt_core.errors import ConfigError, UserError
from jobs import status as module
from jobs.status import Watched, _watch, status
from orchestrator.execution.job_records import JobRecord, JobState, submission_id
from orchestrator.execution.status import TrialState, write_status
from orchestrator.sweep_status import SweepView
from tests.jobs.fake_job_server import FakeJobServer, connected
from tests.orchestrator.test_sweep_status import sweep_of
from tests.orchestrator.test_traces import begin, end, write

ID = submission_id("mine", "0" * 16, 1)
OTHER = submission_id("other", "f" * 16, 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = sweep_of(tmp_path / "mine", "a", "b")
    write_status(folder, TrialState.RUNNING)
    write_status(folder / "trials" / "a", TrialState.FAILED, reason="worker 0: boom")
    return folder


def test_a_folder_is_enough_where_no_server_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("orchestrator.execution.job_address.DEFAULT_ADDRESS", "http://127.0.0.1:9")
    assert status(str(folder)) == 0
    out = capsys.readouterr().out
    assert "mine: running, 2 trials: 1 pending, 1 failed" in out
    assert "a: worker 0: boom" in out
    with pytest.raises(ConfigError, match="no Ray job server"):
        status(str(folder), address="http://127.0.0.1:9")  # named, so it must be there
    with pytest.raises(ConfigError, match="no Ray job server"):
        status("mine")  # no folder of that name here


def test_a_job_leads_to_its_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = connected(monkeypatch, module)
    server.records[ID] = JobRecord(ID, JobState.RUNNING, str(folder))
    for grid in (None, "mine", ID, str(folder)):
        assert status(grid, as_data=True) == 0
        data = json.loads(capsys.readouterr().out)
        assert (data["name"], data["state"]) == ("mine", "RUNNING")
        assert data["job"]["submission_id"] == ID
        assert [trial["state"] for trial in data["trials"]] == ["FAILED", "PENDING"]


def test_a_folder_that_cannot_be_seen_still_has_a_job(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = connected(monkeypatch, module)
    server.records[ID] = JobRecord(ID, JobState.FAILED, "/there", "exit code 2\nmore")
    assert status() == 0
    out = capsys.readouterr().out
    assert f"job {ID}: failed (exit code 2)" in out
    assert "(/there) cannot be seen from here" in out
    assert status(as_data=True) == 0
    assert json.loads(capsys.readouterr().out)["trials"] == []


def test_a_sweep_that_the_server_does_not_know_is_shown_all_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    connected(monkeypatch, module)
    assert status(str(folder), as_data=True) == 0
    assert json.loads(capsys.readouterr().out)["job"] is None
    with pytest.raises(UserError, match="no job 'nowhere'"):
        status("nowhere")


def test_of_several_sweeps_the_jobs_are_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = connected(monkeypatch, module)
    server.records = {i: JobRecord(i, JobState.RUNNING, "/there") for i in (ID, OTHER)}
    assert status() == 0
    assert OTHER in capsys.readouterr().out
    assert status(as_data=True) == 0
    assert len(json.loads(capsys.readouterr().out)["jobs"]) == 2


def test_watching_ends_with_the_job(folder: Path) -> None:
    server = FakeJobServer(records={ID: JobRecord(ID, JobState.RUNNING, str(folder))})
    watched = Watched(server, server.job(ID), SweepView(folder))  # type: ignore[arg-type]
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 2:
            server.end(ID, JobState.SUCCEEDED)

    out = io.StringIO()
    _watch(watched, Console(file=out, width=120, force_terminal=True), sleep)
    assert len(naps) == 2
    assert "succeeded" in out.getvalue()


def test_a_watched_folder_without_a_job_ends_with_its_driver(folder: Path) -> None:
    view = SweepView(folder)
    assert not Watched(None, None, view).has_ended
    write_status(folder, TrialState.KILLED)
    assert Watched(None, None, view).has_ended


def test_one_answer_cannot_be_watched(folder: Path) -> None:
    with pytest.raises(ConfigError, match="--json"):
        status(str(folder), watch=True, as_data=True)


def test_goodput_is_shown_where_traces_tell(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    connected(monkeypatch, module)
    assert status(str(folder), as_data=True) == 0
    assert json.loads(capsys.readouterr().out)["goodput"] is None
    trials = begin("trials", 1, args={"slots": 2}), end("trials", 9)
    write(folder / "trace.json", begin("launch", 0), *trials, end("launch", 10))
    write(folder / "trials" / "a" / "trace.json", begin("training", 2), end("training", 7))
    assert status(str(folder)) == 0
    assert "goodput: 25% of 2 slots x 10 s" in capsys.readouterr().out
    assert status(str(folder), as_data=True) == 0
    assert json.loads(capsys.readouterr().out)["goodput"] == {
        "goodput": 0.25,
        "wall_s": 10,
        "slots": 2,
        "slot_s": 20,
        "spent_s": {"steps": 5, "idle": 15},
    }

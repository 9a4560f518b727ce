import json
from pathlib import Path
from typing import Any

import pytest

from jobs import stop as module
from jobs.stop import stop
from orchestrator.execution.job_records import JobRecord, JobState, submission_id
from orchestrator.execution.status import TrialState, write_status
from tests.jobs.fake_job_server import FakeJobServer, connected

ID = submission_id("mine", "0" * 16, 1)


def test_a_stop_waits_and_tells_what_became_of_the_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = connected(monkeypatch, module)
    (tmp_path / "sweep.json").write_text(json.dumps({"run_ids": ["a", "b"]}))
    write_status(tmp_path / "trials" / "a", TrialState.KILLED)
    server.records[ID] = JobRecord(ID, JobState.RUNNING, str(tmp_path))
    assert stop("mine") == 0
    assert server.stopped == [ID]
    out = capsys.readouterr().out
    assert "stopped; 2 trials: 1 pending, 1 killed" in out
    assert f"continue: aptune resume {ID}" in out


def test_what_has_ended_is_not_stopped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = connected(monkeypatch, module)
    server.records[ID] = JobRecord(ID, JobState.SUCCEEDED)
    assert stop("mine") == 0
    assert server.stopped == []
    assert "has ended already: succeeded" in capsys.readouterr().out


def test_a_job_that_does_not_end_in_time_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = connected(monkeypatch, module)
    server.records[ID] = JobRecord(ID, JobState.RUNNING)

    def never(self: FakeJobServer, submission_id: str, **options: Any) -> JobRecord:
        return self.records[submission_id]

    monkeypatch.setattr(FakeJobServer, "wait", never)
    assert stop("mine", timeout=3) == 1
    assert "has not ended after 3 s" in capsys.readouterr().err

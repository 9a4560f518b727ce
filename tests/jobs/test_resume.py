import json
from pathlib import Path

import pytest

from apt_core.config import load_config
from apt_core.errors import DataError, UserError
from jobs import resume as module
from jobs.launch import record_members
from jobs.resume import recorded_config, resume
from jobs.submission import submit_grid
from orchestrator.execution.job_records import JobRecord, JobState, submission_id
from tests.jobs.fake_job_server import connected
from tests.jobs.test_launch import finish_all
from tests.jobs.test_planning import plan_of

ID = submission_id("gone", "0" * 16, 1)


def test_a_sweeps_folder_is_enough_to_continue_the_very_same_grid(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = connected(monkeypatch, module)
    config = load_config([project / "config.yaml"])
    first = submit_grid(server, config, lambda text: None)  # type: ignore[arg-type]
    record_members(plan_of(project))
    server.end(first.submission_id, JobState.STOPPED)
    assert resume(str(project / "runs" / "small")) == 0
    assert [job.attempt for job in server.jobs()] == [1, 2]
    assert {job.grid for job in server.jobs()} == {first.grid}
    assert resume("small") == 0  # by name: it runs, so it is joined
    assert len(server.jobs()) == 2
    assert "joined" in capsys.readouterr().out


def test_a_folder_that_cannot_be_seen_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    server = connected(monkeypatch, module)
    server.records[ID] = JobRecord(ID, JobState.STOPPED, "/on/the/cluster/gone")
    with pytest.raises(UserError, match=r"cannot be seen from here.*aptune submit"):
        resume("gone")


def test_here_it_runs_as_a_sweep_in_the_same_folder(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = plan_of(project)
    record_members(plan)
    finish_all(plan)
    monkeypatch.chdir("/")
    assert resume(str(plan.sweep_dir), here=True) == 0  # all finished: nothing starts
    assert str(plan.sweep_dir / "report" / "report.md") in capsys.readouterr().out
    with pytest.raises(UserError, match="--here"):
        resume("small", here=True)


def test_a_folder_without_its_configuration_is_the_users_to_mend(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="start the sweep again"):
        recorded_config(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"name": "x"}))
    assert recorded_config(tmp_path).name == "x"

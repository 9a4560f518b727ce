from dataclasses import replace
from pathlib import Path

import pytest

from apt_core.config import ExperimentConfig, load_config
from apt_core.errors import ConfigError
from jobs.submission import how_to_follow, submit_grid, wait_for
from orchestrator.execution.job_records import JobRecord, JobState, submission_id
from tests.jobs.fake_job_server import FakeJobServer


def config_of(project: Path, *overrides: str) -> ExperimentConfig:
    return load_config([project / "config.yaml"], overrides)


def submitted(server: FakeJobServer, config: ExperimentConfig) -> tuple[JobRecord, str]:
    said: list[str] = []
    job = submit_grid(server, config, said.append)  # type: ignore[arg-type]
    return job, "\n".join(said)


def test_a_grid_submitted_ten_times_is_one_job(project: Path) -> None:
    server = FakeJobServer()
    first, said = submitted(server, config_of(project))
    assert said.startswith(f"submitted job {first.submission_id}\nresults: {project}/runs/small")
    for _ in range(9):
        job, said = submitted(server, config_of(project))
        assert job == first
        assert said.startswith("joined")
    assert len(server.records) == 1
    assert first.submission_id.endswith("-1")


@pytest.mark.parametrize("state", [JobState.STOPPED, JobState.FAILED, JobState.SUCCEEDED])
def test_after_its_end_the_next_job_continues(project: Path, state: JobState) -> None:
    server = FakeJobServer()
    first, _ = submitted(server, config_of(project))
    server.end(first.submission_id, state)
    second, said = submitted(server, config_of(project))
    assert second.attempt == 2
    assert (second.grid, second.folder) == (first.grid, first.folder)
    assert said.startswith("continues as")
    assert submitted(server, config_of(project))[0] == second


def test_who_is_a_moment_late_joins(project: Path) -> None:
    probe = FakeJobServer()
    theirs, _ = submitted(probe, config_of(project))
    server = FakeJobServer(faster=[theirs])
    job, said = submitted(server, config_of(project))
    assert job == theirs
    assert "joined" in said
    assert server.commands == {}


def test_who_is_a_moment_late_for_a_job_that_has_ended_takes_the_next_number(project: Path) -> None:
    probe = FakeJobServer()
    theirs, _ = submitted(probe, config_of(project))
    server = FakeJobServer(faster=[replace(theirs, state=JobState.FAILED)])
    assert submitted(server, config_of(project))[0].attempt == 2


def test_another_grid_in_the_folder_of_a_running_one_is_refused(project: Path) -> None:
    server = FakeJobServer()
    submitted(server, config_of(project))
    with pytest.raises(ConfigError, match="runs another grid"):
        submitted(server, config_of(project, "training.seed=5"))
    submitted(server, config_of(project, "training.seed=5", "name=other"))
    assert len(server.records) == 2


def test_the_job_gets_the_resolved_configuration(project: Path) -> None:
    server = FakeJobServer()
    job, _ = submitted(server, config_of(project, "training.seed=5"))
    sent = server.configs[job.submission_id]
    assert sent["training"]["seed"] == 5
    assert sent["orchestration"]["results_dir"] == str(project / "runs")
    assert "exec aptune sweep" in server.commands[job.submission_id]


def test_a_cell_that_is_wrong_is_not_submitted(project: Path) -> None:
    server = FakeJobServer()
    with pytest.raises(ConfigError, match="cells are not valid"):
        submitted(
            server,
            config_of(project, "orchestration.grid=[{set: {pruning.target_sparsity: 2}}]"),
        )
    assert server.records == {}


def test_waiting_shows_the_log_and_fails_with_the_job(capsys: pytest.CaptureFixture[str]) -> None:
    identity = submission_id("mine", "0" * 16, 1)
    job = JobRecord(identity, JobState.RUNNING)
    for state, code in ((JobState.SUCCEEDED, 0), (JobState.FAILED, 1), (JobState.STOPPED, 1)):
        server = FakeJobServer(records={identity: job}, last_state=state)
        assert wait_for(server, job) == code  # type: ignore[arg-type]
        told = capsys.readouterr()
        assert told.out == "a line\n"
        assert (f"job {identity}: {state.lower()}. went wrong\n" in told.err) is (code == 1)


def test_ctrl_c_ends_the_looking_and_not_the_job(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(self: object, *args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FakeJobServer, "follow", interrupt)
    server = FakeJobServer()
    with pytest.raises(KeyboardInterrupt):
        wait_for(server, JobRecord("x", JobState.RUNNING))  # type: ignore[arg-type]
    assert "the job goes on; end it: aptune stop x" in capsys.readouterr().err
    assert server.stopped == []


def test_what_to_do_next_names_the_job() -> None:
    assert "aptune stop x" in how_to_follow(JobRecord("x", JobState.RUNNING))

import pytest

from apt_core.errors import ConfigError, UserError
from orchestrator.execution.job_records import (
    JobRecord,
    JobState,
    find_job,
    newest_jobs,
    next_attempt,
    running_job,
    submission_id,
)

GRID, OTHER = "0123456789abcdef", "fedcba9876543210"


def job(
    attempt: int = 1,
    state: JobState = JobState.RUNNING,
    *,
    grid: str = GRID,
    name: str = "mine",
    folder: str = "/runs/mine",
) -> JobRecord:
    return JobRecord(submission_id(name, grid, attempt), state, folder, start_ms=attempt)


FOREIGN = JobRecord("raysubmit_4LamXRuQpYdSMg7J", JobState.RUNNING)


def test_everything_that_finds_a_job_stands_in_its_id() -> None:
    record = job(12, name="my-grid-2")
    assert record.submission_id == f"aptune-my-grid-2-{GRID}-12"
    assert (record.name, record.grid, record.attempt) == ("my-grid-2", GRID, 12)
    assert record.is_ours


def test_jobs_of_others_have_no_parts() -> None:
    assert not FOREIGN.is_ours
    assert (FOREIGN.name, FOREIGN.grid, FOREIGN.attempt) == ("", "", 0)


def test_an_id_is_a_plain_file_name_whatever_the_sweep_is_called() -> None:
    assert submission_id("a b/c$(d)", GRID, 1) == f"aptune-a-b-c-d-{GRID}-1"
    assert submission_id("..", GRID, 1) == f"aptune-grid-{GRID}-1"


@pytest.mark.parametrize("state", [JobState.PENDING, JobState.RUNNING])
def test_a_grid_joins_its_job_that_has_not_ended(state: JobState) -> None:
    alive = job(2, state)
    jobs = [FOREIGN, job(1, JobState.FAILED), alive, job(1, grid=OTHER, folder="/runs/other")]
    assert running_job(jobs, GRID, "/runs/mine") is alive


@pytest.mark.parametrize("state", [JobState.STOPPED, JobState.SUCCEEDED, JobState.FAILED])
def test_a_grid_whose_job_has_ended_gets_the_next_number(state: JobState) -> None:
    jobs = [job(1, state), job(2, state), job(7, state, grid=OTHER)]
    assert running_job(jobs, GRID, "/runs/mine") is None
    assert next_attempt(jobs, GRID) == 3
    assert next_attempt([], GRID) == 1


def test_another_grid_in_the_same_folder_is_refused_while_it_runs() -> None:
    with pytest.raises(ConfigError, match="runs another grid in /runs/mine"):
        running_job([job(grid=OTHER)], GRID, "/runs/mine")
    assert running_job([job(grid=OTHER, state=JobState.STOPPED)], GRID, "/runs/mine") is None


@pytest.mark.parametrize(
    "wanted", ["mine", "/runs/mine", "/runs/mine/", GRID, submission_id("mine", GRID, 2), None]
)
def test_a_job_is_found_by_id_name_folder_or_grid(wanted: str | None) -> None:
    second = job(2)
    assert find_job([FOREIGN, job(1, JobState.STOPPED), second], wanted) == second


def test_variables_in_a_folder_are_read_as_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APTUNE_SHARED", "/mnt/shared")
    there = job(folder="${APTUNE_SHARED}/runs/mine")
    assert there.place == "/mnt/shared/runs/mine"
    assert find_job([there, job(grid=OTHER)], "/mnt/shared/runs/mine") == there


def test_an_exact_id_finds_an_earlier_attempt_and_jobs_of_others() -> None:
    first = job(1, JobState.STOPPED)
    assert find_job([first, job(2)], first.submission_id) == first
    assert find_job([first, FOREIGN], FOREIGN.submission_id) == FOREIGN


def test_of_several_sweeps_the_one_that_runs_is_meant() -> None:
    ended = job(3, JobState.SUCCEEDED, grid=OTHER)
    assert find_job([ended, job(1)], "mine") == job(1)
    with pytest.raises(UserError, match="several sweeps could be meant"):
        find_job([ended, job(1, JobState.FAILED)], "mine")


def test_who_asks_for_nothing_that_is_there_sees_what_is() -> None:
    with pytest.raises(UserError, match=rf"no job 'yours'.*aptune-mine-{GRID}-1 \(running\)"):
        find_job([job()], "yours")
    with pytest.raises(UserError, match=r"has no sweep.*aptune submit"):
        find_job([FOREIGN], None)


def test_of_every_grid_the_newest_job_is_listed_latest_first() -> None:
    jobs = [job(1, JobState.STOPPED), FOREIGN, job(5, grid=OTHER), job(2)]
    assert newest_jobs(jobs) == [job(5, grid=OTHER), job(2)]

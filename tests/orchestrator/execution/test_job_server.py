"""What we make of Ray's job client; the real one is in tests/jobs/test_jobs_on_a_cluster.py."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.job_submission import JobStatus

from apt_core.errors import ConfigError
from orchestrator.execution import job_server as module
from orchestrator.execution.job_records import FOLDER_KEY, JobState
from orchestrator.execution.job_server import JobServer, JobServerError

ADDRESS = "http://127.0.0.1:8265"


class FakeClient:
    """Ray's client, with one list of jobs for all instances."""

    error: Exception | None = None
    jobs: list[Any] = []  # noqa: RUF012 - reset by the fixture
    submitted: list[dict[str, Any]] = []  # noqa: RUF012
    seen_address: str | None = None

    def __init__(self, address: str) -> None:
        type(self).seen_address = os.environ.get("RAY_API_SERVER_ADDRESS")
        if self.error:
            raise self.error

    def list_jobs(self) -> list[Any]:
        return self.jobs

    def get_job_info(self, submission_id: str) -> Any:
        info = next(job for job in self.jobs if job.submission_id == submission_id)
        if info.looks:
            info.status = info.looks.pop(0)
        return info

    def submit_job(self, **request: Any) -> str:
        if self.error:
            raise self.error
        self.submitted.append(request)
        return str(request["submission_id"])

    async def tail_job_logs(self, submission_id: str) -> AsyncIterator[str]:
        for piece in ("one\n", "two\n"):
            yield piece


def details(identity: str | None = "a", *looks: JobStatus, metadata: Any = None) -> Any:
    return SimpleNamespace(
        submission_id=identity,
        status=JobStatus.RUNNING,
        metadata=metadata,
        message=None,
        start_time=1,
        end_time=None,
        looks=list(looks),
    )


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeClient.error, FakeClient.jobs, FakeClient.submitted = None, [], []
    monkeypatch.setattr(module, "JobSubmissionClient", FakeClient)
    monkeypatch.setattr(module, "check_job_server", lambda address: None)
    monkeypatch.setattr(module, "POLL_S", 0.0)


def test_the_address_given_goes_before_the_environment_and_leaves_it_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://elsewhere:8265")
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    JobServer(ADDRESS)
    assert FakeClient.seen_address == ADDRESS
    assert "RAY_API_SERVER_ADDRESS" not in os.environ
    assert os.environ["RAY_ADDRESS"] == "http://elsewhere:8265"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RuntimeError("401: Missing authentication token"), "RAY_AUTH_TOKEN_PATH"),
        (ConnectionError("Failed to connect"), r"no Ray job server .*Failed to connect"),
        (RuntimeError("Ray version 1.0 is running"), "Ray version 1.0"),
    ],
)
def test_a_server_that_does_not_serve_us_is_the_users_to_mend(
    error: Exception, message: str
) -> None:
    FakeClient.error = error
    with pytest.raises(ConfigError, match=message):
        JobServer(ADDRESS)


def test_jobs_become_records_and_drivers_without_a_submission_are_left_out() -> None:
    FakeClient.jobs = [details(None), details("a", metadata={FOLDER_KEY: "/runs/x"}), details("b")]
    first, second = JobServer(ADDRESS).jobs()
    assert (first.submission_id, first.state, first.folder) == ("a", JobState.RUNNING, "/runs/x")
    assert (second.folder, second.message) == ("", "")


def test_a_job_carries_the_time_to_save_and_no_variable_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "s3cret")
    assert JobServer(ADDRESS).submit("a", "run", working_dir=tmp_path, folder="/runs/x")
    (request,) = FakeClient.submitted
    assert request == {
        "entrypoint": "run",
        "submission_id": "a",
        "runtime_env": {
            "working_dir": str(tmp_path),
            "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "120"},
        },
        "metadata": {FOLDER_KEY: "/runs/x"},
    }


def test_an_id_that_is_taken_is_no_error_but_a_refusal_is(tmp_path: Path) -> None:
    server = JobServer(ADDRESS)
    FakeClient.error = RuntimeError("Request failed with status code 500")
    with pytest.raises(JobServerError, match="did not take the job"):
        server.submit("a", "run", working_dir=tmp_path, folder="")
    FakeClient.jobs = [details("a")]
    assert server.submit("a", "run", working_dir=tmp_path, folder="") is False


def test_waiting_ends_with_the_job_or_the_time() -> None:
    FakeClient.jobs = [details("a", JobStatus.PENDING, JobStatus.RUNNING, JobStatus.SUCCEEDED)]
    polls: list[int] = []
    job = JobServer(ADDRESS).wait("a", on_poll=lambda: polls.append(1))
    assert (job.state, len(polls)) == (JobState.SUCCEEDED, 2)
    FakeClient.jobs = [details("a")]
    assert JobServer(ADDRESS).wait("a", timeout_s=0).state is JobState.RUNNING


def test_a_log_is_followed_to_its_end() -> None:
    pieces: list[str] = []
    JobServer(ADDRESS).follow("a", pieces.append)
    assert pieces == ["one\n", "two\n"]

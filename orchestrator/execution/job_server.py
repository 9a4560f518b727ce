"""The door to Ray's job server: list, submit, stop, read logs. Nothing else talks to it."""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray.job_submission import JobSubmissionClient

from apt_core.errors import AptError, ConfigError
from orchestrator.execution.job_address import VARIABLES, check_job_server, no_job_server
from orchestrator.execution.job_records import FOLDER_KEY, JobRecord, JobState

STOP_WAIT_S = 120
"""How long a driver may take to save its trainings and deliver their last metrics."""
JOB_ENV = {
    # Ray's default of 3 s would kill the driver in the middle of its trainings' last checkpoint.
    "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S),
}
POLL_S = 0.5
_TALKATIVE = ("ray.dashboard.modules.dashboard_sdk", "ray._private.runtime_env.packaging")


class JobServerError(AptError):
    """The job server refused a request."""


class JobServer:
    """A cluster's job server.

    Args:
        address: What `job_address` returned.

    Raises:
        ConfigError: If there is no job server at `address`, or it does not let us in.
    """

    def __init__(self, address: str) -> None:
        check_job_server(address)
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.WARNING)
        try:
            with _only_address(address):
                self._client: Any = JobSubmissionClient(address)
        except Exception as error:  # Ray, requests and its HTTP errors have no common base
            raise _refusal(address, error) from error
        self.address = address

    def jobs(self) -> list[JobRecord]:
        """All jobs of the cluster, also those that have ended."""
        return [_record(details) for details in self._client.list_jobs() if details.submission_id]

    def job(self, submission_id: str) -> JobRecord:
        """One job as it is now."""
        return _record(self._client.get_job_info(submission_id))

    def submit(
        self, submission_id: str, entrypoint: str, *, working_dir: Path, folder: str
    ) -> bool:
        """Start a job, unless its id has been taken: by somebody who was faster.

        Args:
            submission_id: Its id.
            entrypoint: The shell command that is the job.
            working_dir: What to send; the command starts in it.
            folder: The sweep's folder, kept as metadata.

        Returns:
            Whether it was started.

        Raises:
            JobServerError: If the server refuses for another reason.
        """
        try:
            self._client.submit_job(
                entrypoint=entrypoint,
                submission_id=submission_id,
                runtime_env={"working_dir": str(working_dir), "env_vars": dict(JOB_ENV)},
                metadata={FOLDER_KEY: folder},
            )
        except RuntimeError as error:
            if any(job.submission_id == submission_id for job in self.jobs()):
                return False
            raise JobServerError(f"{self.address} did not take the job: {error}") from error
        return True

    def stop(self, submission_id: str) -> None:
        """Ask a job to end; see `wait`."""
        self._client.stop_job(submission_id)

    def wait(
        self,
        submission_id: str,
        *,
        timeout_s: float | None = None,
        on_poll: Callable[[], None] = lambda: None,
    ) -> JobRecord:
        """Wait until a job has ended.

        Args:
            submission_id: Which one.
            timeout_s: When to give up; None: never.
            on_poll: Called about twice a second.

        Returns:
            The job; not ended, if time was up.
        """
        deadline = time.monotonic() + (timeout_s if timeout_s is not None else float("inf"))
        while True:
            job = self.job(submission_id)
            if job.state.has_ended or time.monotonic() >= deadline:
                return job
            on_poll()
            time.sleep(POLL_S)

    def logs(self, submission_id: str) -> str:
        """What a job has printed so far."""
        return str(self._client.get_job_logs(submission_id))

    def follow(self, submission_id: str, write: Callable[[str], Any]) -> None:
        """Hand on what a job has printed and prints, until it ends.

        Args:
            submission_id: Which one.
            write: Takes the text, piece by piece.
        """

        async def tail() -> None:
            async for piece in self._client.tail_job_logs(submission_id):
                write(piece)

        asyncio.run(tail())


@contextmanager
def _only_address(address: str) -> Iterator[None]:
    """Inside the block the environment names this address: it, not the caller, is obeyed."""
    before = {name: os.environ.get(name) for name in VARIABLES}
    os.environ[VARIABLES[0]] = address
    try:
        yield
    finally:
        _restore(before)


def _restore(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _record(details: Any) -> JobRecord:
    return JobRecord(
        submission_id=details.submission_id,
        state=JobState(str(details.status.value)),
        folder=(details.metadata or {}).get(FOLDER_KEY, ""),
        message=details.message or "",
        start_ms=details.start_time,
        end_ms=details.end_time,
    )


def _refusal(address: str, error: Exception) -> ConfigError:
    text = str(error)
    if "uthentication" in type(error).__name__ + text or "oken" in text:
        return ConfigError(
            f"--address: {address} wants a token; set RAY_AUTH_MODE=token, and "
            "RAY_AUTH_TOKEN_PATH to the cluster's token file"
        )
    return no_job_server(address, text)

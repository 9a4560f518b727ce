"""Handing a grid to a cluster: joining its job, or starting the next one; and waiting for it."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from apt_core.config import ExperimentConfig
from jobs.common import EXIT_FAILED, EXIT_OK, say_error
from orchestrator.execution.job_package import entrypoint, for_cluster, package
from orchestrator.execution.job_records import (
    JobRecord,
    JobState,
    next_attempt,
    running_job,
    submission_id,
)
from orchestrator.identity import grid_id

if TYPE_CHECKING:
    from orchestrator.execution.job_server import JobServer

MAX_TRIES = 5
"""Somebody else may take the number that we want; nobody does so five times in a row."""
Say = Callable[[str], None]


def submit_grid(
    server: "JobServer", config: ExperimentConfig, say: Say, *, with_code: bool = False
) -> JobRecord:
    """Join the job that runs this grid, or start the next one, which continues where it ended.

    Args:
        server: Where to.
        config: The grid as the user wrote it.
        say: Takes what the user should know.
        with_code: Whether our sources are sent along.

    Returns:
        The job.

    Raises:
        ConfigError: If a cell is wrong, or another grid is being run in the same folder.
    """
    ready = for_cluster(config, Path.cwd())
    grid = grid_id(ready)
    folder = f"{ready.orchestration.results_dir.rstrip('/')}/{ready.name}"
    for _ in range(MAX_TRIES):
        jobs = server.jobs()
        running = running_job(jobs, grid, folder)
        if running is not None:
            say(f"joined job {running.submission_id}, which runs this grid already")
            return running
        identity = submission_id(ready.name, grid, next_attempt(jobs, grid))
        with package(ready, with_code=with_code) as working_dir:
            command = entrypoint(with_code=with_code)
            started = server.submit(identity, command, working_dir=working_dir, folder=folder)
        if started:
            job = server.job(identity)
            verb = "submitted" if job.attempt == 1 else "continues as"
            say(f"{verb} job {identity}\nresults: {folder} (on the cluster)")
            return job
    raise RuntimeError(f"others took the id of the next job of grid {grid} {MAX_TRIES} times")


def how_to_follow(job: JobRecord) -> str:
    """The commands for a job that goes on without us."""
    return "\n".join(
        f"{what}: aptune {command} {job.submission_id}"
        for what, command in (("state", "status"), ("log", "logs -f"), ("end it", "stop"))
    )


def wait_for(server: "JobServer", job: JobRecord) -> int:
    """Show a job's log until it ends; Ctrl-C ends the waiting only.

    Args:
        server: Where it is.
        job: The job.

    Returns:
        The exit code: 0 if it succeeded.
    """
    follow_log(server, job)
    ended = server.wait(job.submission_id)
    if ended.state is JobState.SUCCEEDED:
        return EXIT_OK
    sys.stdout.flush()
    first = (ended.message.strip().splitlines() or [""])[0]
    say_error(f"job {ended.submission_id}: {ended.state.lower()}. {first}")
    return EXIT_FAILED


def follow_log(server: "JobServer", job: JobRecord) -> None:
    """Write what the job has printed and prints to stdout, until it ends.

    Args:
        server: Where it is.
        job: The job.

    Raises:
        KeyboardInterrupt: On Ctrl-C, which ends the looking only.
    """
    try:
        server.follow(job.submission_id, _write)
    except KeyboardInterrupt:
        sys.stderr.write(f"\nthe job goes on; end it: aptune stop {job.submission_id}\n")
        raise


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()

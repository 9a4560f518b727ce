"""Jobs on a cluster as plain values: their ids, and whether a grid joins one or starts the next.

No ray here. A submission id holds the sweep's name, the grid's identity and the number of the
attempt, ``aptune-my-grid-0123456789abcdef-2``: Ray never takes an id twice, and everything that is
needed to find a grid's jobs stands in their ids.
"""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from apt_core.errors import ConfigError, UserError

_ID = re.compile(r"aptune-(?P<name>.+)-(?P<grid>[0-9a-f]{16})-(?P<attempt>[1-9]\d*)")
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")
FOLDER_KEY = "aptune_folder"
"""In a job's metadata: the sweep's folder as the configuration spells it."""


class JobState(StrEnum):
    """Where a job stands, in Ray's words."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"

    @property
    def has_ended(self) -> bool:
        """Whether the job will do nothing any more."""
        return self not in (JobState.PENDING, JobState.RUNNING)


@dataclass(frozen=True)
class JobRecord:
    """One job of a cluster, whoever submitted it."""

    submission_id: str
    state: JobState
    folder: str = ""
    """The sweep's folder on the cluster; empty for a job that `aptune submit` did not submit."""
    message: str = ""
    start_ms: int | None = None
    end_ms: int | None = None

    @property
    def place(self) -> str:
        """The folder as this machine would read it, with its own variables and home."""
        return os.path.expanduser(os.path.expandvars(self.folder))

    @property
    def is_ours(self) -> bool:
        """Whether `aptune submit` gave it its id."""
        return _ID.fullmatch(self.submission_id) is not None

    @property
    def name(self) -> str:
        """The sweep's name; empty for other jobs."""
        return self._part("name")

    @property
    def grid(self) -> str:
        """The identity of its grid; empty for other jobs."""
        return self._part("grid")

    @property
    def attempt(self) -> int:
        """Which job of its grid this is, from 1; 0 for other jobs."""
        return int(self._part("attempt") or 0)

    def _part(self, name: str) -> str:
        match = _ID.fullmatch(self.submission_id)
        return match[name] if match else ""


def submission_id(name: str, grid: str, attempt: int) -> str:
    """The id of a grid's job; it is part of file names on the cluster, so characters are plain.

    Args:
        name: The sweep's name.
        grid: What `orchestrator.identity.grid_id` returned.
        attempt: From 1.

    Returns:
        The id.
    """
    return f"aptune-{_plain(name)}-{grid}-{attempt}"


def running_job(jobs: Iterable[JobRecord], grid: str, folder: str) -> JobRecord | None:
    """The job of a grid that has not ended, if there is one.

    Args:
        jobs: All jobs of the cluster.
        grid: The grid's identity.
        folder: The sweep's folder, as the configuration spells it.

    Returns:
        The job to join, or None: a new one may start.

    Raises:
        ConfigError: If another grid is being run in the same folder.
    """
    alive = [job for job in jobs if not job.state.has_ended]
    for job in alive:
        if job.grid == grid:
            return job
    for job in alive:
        if job.is_ours and job.folder == folder:
            raise ConfigError(
                f"orchestration.results_dir: job {job.submission_id} runs another grid in "
                f"{folder}; wait for it, end it (aptune stop {job.submission_id}), or change name "
                "or orchestration.results_dir"
            )
    return None


def next_attempt(jobs: Iterable[JobRecord], grid: str) -> int:
    """The number of a grid's next job: one more than the highest that the cluster has seen."""
    return 1 + max((job.attempt for job in jobs if job.grid == grid), default=0)


def find_job(jobs: Sequence[JobRecord], wanted: str | None) -> JobRecord:
    """The newest job that a user means.

    Args:
        jobs: All jobs of the cluster.
        wanted: A submission id, a sweep's name, its folder or a grid's identity; None: the only
            sweep there is.

    Returns:
        The job.

    Raises:
        UserError: If there is none, or several sweeps could be meant; lists what there is.
    """
    ours = [job for job in jobs if job.is_ours]
    if wanted is None:
        found = ours
    else:
        found = [job for job in jobs if job.submission_id == wanted]
        names = {wanted, wanted.rstrip("/")}
        found = found or [
            job for job in ours if names & {job.name, job.folder, job.place, job.grid}
        ]
    if not found:
        raise UserError(f"{_nothing_found(wanted)}; {_listing(ours)}")
    if len({job.grid or job.submission_id for job in found}) > 1:
        alive = [job for job in found if not job.state.has_ended]
        if len(alive) != 1:
            raise UserError(f"several sweeps could be meant; name one: {_listing(found)}")
        found = alive
    return max(found, key=lambda job: job.attempt)


def newest_jobs(jobs: Iterable[JobRecord]) -> list[JobRecord]:
    """The last job of every grid, the most recently started first."""
    newest: dict[str, JobRecord] = {}
    for job in jobs:
        known = newest.get(job.grid)
        if job.is_ours and (known is None or known.attempt < job.attempt):
            newest[job.grid] = job
    return sorted(newest.values(), key=lambda job: job.start_ms or 0, reverse=True)


def _plain(name: str) -> str:
    return _UNSAFE.sub("-", name).strip("-.") or "grid"


def _nothing_found(wanted: str | None) -> str:
    return "the cluster has no sweep" if wanted is None else f"the cluster has no job {wanted!r}"


def _listing(jobs: Iterable[JobRecord]) -> str:
    lines = [f"{job.submission_id} ({job.state.lower()})" for job in newest_jobs(jobs)]
    return "jobs of aptune there: " + (", ".join(lines) or "none; start one with aptune submit")

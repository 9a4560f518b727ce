"""Which trials of a sweep are copied, and when: a thread of the driver, beside the trainings.

A training writes to its folder and knows no other storage: copying costs it no step. What is there
is sent after every checkpoint; a storage that is away for a while misses nothing but versions that
newer ones have replaced.
"""

import logging
import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from orchestrator.execution.status import RESULT_FILE
from orchestrator.execution.trial import TrialSpec
from orchestrator.mirror.address import RemoteFor
from orchestrator.mirror.remote import MirrorError
from orchestrator.mirror.snapshot import files_of, newest_step, snapshot, stamp_of

logger = logging.getLogger(__name__)

POLL_S = 2.0
RETRY_S = 15.0
END_TIMEOUT_S = 60.0
"""How long the end of a sweep waits for a storage that does not take its copies."""
STOP_TIMEOUT_S = 5.0
"""How long a sweep that was told to stop waits; 15 s after that, no process should be left."""
PARALLEL = 8
"""Copies that are looked at together before a sweep starts: each costs some round trips."""


class Mirror:
    """The copies of a sweep's trials.

    Args:
        remote_for: Gives the place of a trial's copy by its run id.
        trials: Whose folders are copied.
    """

    def __init__(self, remote_for: RemoteFor, trials: Sequence[TrialSpec]) -> None:
        self._trials = tuple(trials)
        self._remotes = {trial.run_id: remote_for(trial.run_id) for trial in trials}
        self._sent: dict[str, str] = {}
        """The stamp of what the storage has, by run id."""
        self._ending = threading.Event()
        self._deadline = math.inf
        self._thread = threading.Thread(target=self._watch, name="mirror", daemon=True)

    def restore(self) -> int:
        """Bring back every trial whose copy has more than its folder; before anything starts.

        Returns:
            How many were brought back.

        Raises:
            MirrorError: A copy is damaged, or the storage refuses.
        """
        with ThreadPoolExecutor(PARALLEL) as pool:
            return sum(pool.map(self._restore, self._trials))

    def start(self) -> None:
        """Copy from now on."""
        self._thread.start()

    def close(self, timeout_s: float = END_TIMEOUT_S) -> list[str]:
        """Copy what is left, for a while at most.

        Args:
            timeout_s: How long.

        Returns:
            Labels of the trials whose copies are behind.
        """
        self._deadline = time.monotonic() + timeout_s
        self._ending.set()
        self._thread.join(timeout_s)
        return [trial.label for trial in self._trials if self._is_behind(trial)]

    def _restore(self, trial: TrialSpec) -> bool:
        remote = self._remotes[trial.run_id]
        try:
            copy = remote.newest()
            if not _has_more(list(copy.files), files_of(trial.run_dir)):
                self._sent[trial.run_id] = copy.stamp
                return False
            remote.pull(trial.run_dir)
            self._sent[trial.run_id] = stamp_of(trial.run_dir)
        except Exception as error:  # clients of storages raise what they like
            raise MirrorError(f"the copy of {trial.label} cannot be read: {error}") from error
        logger.info("%s: brought back from its copy", trial.label)
        return True

    def _is_behind(self, trial: TrialSpec) -> bool:
        stamp = stamp_of(trial.run_dir)
        return bool(stamp) and stamp != self._sent.get(trial.run_id)

    def _watch(self) -> None:
        told = ""
        while time.monotonic() < self._deadline:
            is_last = self._ending.is_set()
            problem = self._send_all()
            if problem and problem != told:
                logger.warning("%s; tried again and again", problem)
            told = problem
            if is_last and not problem:
                return
            if is_last:
                time.sleep(POLL_S)
            else:
                self._ending.wait(RETRY_S if problem else POLL_S)

    def _send_all(self) -> str:
        """Send what is new; the first thing that went wrong, or empty."""
        problems = []
        for trial in self._trials:
            try:
                self._send(trial)
            except Exception as error:  # clients of storages raise what they like
                problems.append(f"{trial.label} cannot be copied: {error or type(error).__name__}")
        return problems[0] if problems else ""

    def _send(self, trial: TrialSpec) -> None:
        stamp = stamp_of(trial.run_dir)  # before the files: what comes later is sent once more
        if not stamp or stamp == self._sent.get(trial.run_id):
            return
        with snapshot(trial.run_dir) as files:
            self._remotes[trial.run_id].push(files, stamp)
        self._sent[trial.run_id] = stamp


def _has_more(there: Sequence[str], here: Sequence[str]) -> bool:
    """Whether a copy is further than a folder: it has the result, or a later checkpoint."""
    if RESULT_FILE in here:
        return False
    return RESULT_FILE in there or newest_step(there) > newest_step(here)

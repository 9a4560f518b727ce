"""`MetricSource`: what a sink took, read back: the runs of a sweep, their files, their metrics."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from apt_core.report import StepMetrics


@dataclass(frozen=True)
class TrackedRun:
    """One run of a tracker: a sweep, or a trial of it."""

    run: str
    """The tracker's own id of it."""
    run_id: str
    """Ours, as in `TrialInfo`."""
    name: str
    experiment: str
    state: str
    """``RUNNING``, ``FINISHED``, ``FAILED`` or ``KILLED``; a dead driver's stays RUNNING."""
    reason: str = ""
    """Why it failed or was killed, the last time that it did."""
    start_ms: int = 0
    end_ms: int = 0
    """0: it has not ended."""
    metric_names: tuple[str, ...] = ()
    artifact_uri: str = ""


class MetricSource(Protocol):
    """One backend, open for reading. Several threads may ask at the same time.

    Every method raises `TrackingError` if the backend cannot be read.
    """

    def sweeps(self, experiment: str | None = None) -> Sequence[TrackedRun]:
        """All sweeps of one experiment; None: of all experiments."""

    def trials(self, sweep: TrackedRun) -> Sequence[TrackedRun]:
        """All trials of a sweep."""

    def download(self, run: TrackedRun, names: Sequence[str], folder: Path) -> frozenset[str]:
        """Fetch the files of these names from the top of a run's artifacts, where they exist.

        Args:
            run: The run.
            names: Their names.
            folder: Where they go; it exists.

        Returns:
            The names of those that are there now.
        """

    def history(self, run: TrackedRun) -> Sequence[StepMetrics]:
        """Everything that a run logged while it trained, by step; its summary left out."""

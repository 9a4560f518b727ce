"""`MetricSink`: where metrics go once they left the training process.

The training process appends to ``metrics.jsonl`` and knows no tracker. The driver's `Shipper`
(outbox.py) tails these files and hands what is new to one sink.

Failure policy:

- A sink that cannot *start* raises `TrackingError` in `open`, within seconds and before any
  training has begun.
- A sink that cannot *deliver* raises `DeliveryError`. Only the shipper calls a sink, and the
  shipper never lets the error out: it waits and sends the same again, later or in the next launch.
  Training does not notice.
- Every method may be called again with the same arguments and then changes nothing: a delivery
  whose answer got lost is repeated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from apt_core.errors import AptError
from apt_core.report import StepMetrics

EndState = Literal["FINISHED", "FAILED", "KILLED"]

TRIAL_ARTIFACTS = ("config.json", "result.json", "export/structure.json", "export/config.json")
LAST_ARTIFACTS = ("metrics.jsonl",)
SUMMARY_PREFIX = "final/"
"""Begins the names of metrics that repeat the result: no line of ``metrics.jsonl`` has them."""


class DeliveryError(AptError):
    """A sink could not deliver now.

    Args:
        message: Why.
        is_permanent: The content was refused; sending the same again is of no use.
    """

    def __init__(self, message: str, *, is_permanent: bool = False) -> None:
        super().__init__(message)
        self.is_permanent = is_permanent


@dataclass(frozen=True)
class TrialInfo:
    """One tracked folder: a trial, or the sweep itself (the trials' `parent`)."""

    run_id: str
    """Its identity; a sink finds the run again by it."""
    name: str
    """What people read, e.g. ``apt 0.6 seed 1``."""
    directory: Path
    """Holds ``status.json``, ``metrics.jsonl`` and the artifacts."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Grid keys and their values: logged as parameters and as tags."""
    params: Mapping[str, str] = field(default_factory=dict)
    """Everything else that was configured: logged as parameters only."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Further tags, e.g. the command that reruns the trial."""
    parent: "TrialInfo | None" = None
    """The sweep; None: this is the sweep."""
    artifacts: tuple[str, ...] = TRIAL_ARTIFACTS
    """Files to upload when they exist, relative to `directory`."""
    last_artifacts: tuple[str, ...] = LAST_ARTIFACTS
    """The same, of those that are uploaded once it has ended: they grow until then."""


class MetricSink(Protocol):
    """One backend. Not thread-safe: after `open`, one thread uses it."""

    @property
    def store(self) -> str:
        """Identifies where the data goes: equal after a restart of the same server."""

    def open(self) -> None:
        """Connect and check that we may write.

        Raises:
            TrackingError: If the backend cannot be reached or refuses us.
        """

    def start_trial(self, trial: TrialInfo, *, replace: bool = False) -> str:
        """Find the run of `trial`, or create it, and mark it as running.

        Args:
            trial: What to start.
            replace: Drop what was logged for it before and begin with an empty run.

        Returns:
            The backend's own id of the run, for the other methods.

        Raises:
            DeliveryError: If the backend did not take it.
        """

    def log(self, run: str, metrics: Sequence[StepMetrics]) -> None:
        """Deliver metrics under their original times.

        Args:
            run: What `start_trial` returned.
            metrics: Any number of steps.

        Raises:
            DeliveryError: If the backend did not take all of it.
        """

    def log_artifact(self, run: str, path: Path, folder: str = "") -> None:
        """Upload one file, replacing an earlier version of it.

        Args:
            run: What `start_trial` returned.
            path: The file.
            folder: Folder inside the run's artifacts.

        Raises:
            DeliveryError: If the backend did not take it.
        """

    def finish_trial(self, run: str, state: EndState, *, time_ms: int, reason: str = "") -> None:
        """Close a run; `start_trial` opens it again.

        Args:
            run: What `start_trial` returned.
            state: How it ended.
            time_ms: When it ended.
            reason: Why it failed or was killed.

        Raises:
            DeliveryError: If the backend did not take it.
        """

    def close(self) -> None:
        """Let go of connections; never raises."""

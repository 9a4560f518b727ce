"""`Shipper`: one background thread that takes the trials' files to a `MetricSink`.

It only reads what the trials write, so it can be late, die, or start again without a trial
noticing; the files are the truth, and ``tracking.json`` beside them remembers how much has arrived.
"""

import logging
import threading
import time

from orchestrator.tracking.shipment import TrialShipment
from orchestrator.tracking.sink import DeliveryError, MetricSink, TrialInfo

logger = logging.getLogger(__name__)


class Shipper:
    """Ship all trials of a sweep in the background; nothing here ever raises into the sweep.

    Args:
        sink: An opened sink; from `start` on, only this thread uses it.
        poll_s: Seconds between two looks at the trials' folders.
        max_backoff_s: Longest pause while the sink is away.
    """

    def __init__(
        self, sink: MetricSink, *, poll_s: float = 1.0, max_backoff_s: float = 30.0
    ) -> None:
        self._sink = sink
        self._poll_s = poll_s
        self._max_backoff_s = max_backoff_s
        self._shipments: dict[str, TrialShipment] = {}
        self._failed: dict[str, str] = {}
        self._num_failures = 0
        self._started_passes = 0
        self._finished_passes = 0
        self._delivered_at = time.monotonic()
        self._changed = threading.Condition()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metric-shipper", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def add(self, trial: TrialInfo) -> None:
        """Watch one more folder: the sweep's, or a trial's, also of one that has finished earlier.

        What an earlier launch could not deliver goes out now; what has arrived is not sent again.
        """
        shipment = TrialShipment(trial, self._sink, self._stopping.is_set)
        with self._changed:
            self._shipments.setdefault(trial.run_id, shipment)

    @property
    def lag_s(self) -> float:
        """How late tracking is: seconds since the sink had all that the folders held."""
        with self._changed:
            return time.monotonic() - self._delivered_at

    def flush(self, timeout_s: float) -> list[str]:
        """Deliver what the folders hold now.

        Args:
            timeout_s: When to give up.

        Returns:
            One line for each folder whose content did not arrive in time. It stays where it is, and
            the next launch of the same sweep delivers it.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            if self._complete_a_pass(deadline) and not self._failed:
                return []
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not self._thread.is_alive():
                return self._undelivered()
            self._stopping.wait(min(remaining, self._poll_s))

    def close(self, timeout_s: float = 10.0) -> list[str]:
        """Flush, then stop the thread.

        Args:
            timeout_s: When to give up delivering.

        Returns:
            What `flush` returned.
        """
        undelivered = self.flush(timeout_s)
        self._stopping.set()
        self._wake.set()
        self._thread.join(timeout=1.0)
        return undelivered

    def _complete_a_pass(self, deadline: float) -> bool:
        """Wait for the end of a pass that begins after this call; False: too late."""
        with self._changed:
            goal = self._started_passes + 1
            self._wake.set()
            remaining = max(0.0, deadline - time.monotonic())
            return self._changed.wait_for(lambda: self._finished_passes >= goal, timeout=remaining)

    def _undelivered(self) -> list[str]:
        with self._changed:
            failed = self._failed or dict.fromkeys(self._shipments, "not reached in time")
            directories = {run_id: self._shipments[run_id].trial.directory for run_id in failed}
        return [f"{directories[run_id]}: {failed[run_id]}" for run_id in sorted(failed)]

    def _run(self) -> None:
        while not self._stopping.is_set():
            with self._changed:
                self._started_passes += 1
                shipments = dict(self._shipments)
            started_at = time.monotonic()
            self._pass(shipments)
            with self._changed:
                self._finished_passes += 1
                if self._num_failures == 0:
                    self._delivered_at = started_at
                self._changed.notify_all()
            self._wake.wait(self._pause_s())
            self._wake.clear()

    def _pause_s(self) -> float:
        return min(self._max_backoff_s, self._poll_s * 2.0**self._num_failures)

    def _pass(self, shipments: dict[str, TrialShipment]) -> None:
        """Advance every trial; stop at the first that fails, and serve it last the next time."""
        waiting = list(shipments.items())
        while waiting and not self._stopping.is_set():
            run_id, shipment = waiting.pop(0)
            problem = self._advance(shipment)
            if problem:
                self._note_failure(run_id, problem, dict(waiting))
                return
            with self._changed:
                self._failed.pop(run_id, None)
        if self._num_failures:
            logger.info("the tracker takes metrics again; nothing was lost")
        self._num_failures = 0

    def _advance(self, shipment: TrialShipment) -> str:
        try:
            shipment.advance()
        except DeliveryError as error:
            return str(error) or "not delivered"
        except Exception as error:
            # A defect of ours or a full disk: tracking is not worth a training.
            logger.debug("while shipping %s", shipment.trial.directory, exc_info=True)
            return f"{type(error).__name__}: {error}"
        return ""

    def _note_failure(self, run_id: str, problem: str, waiting: dict[str, TrialShipment]) -> None:
        with self._changed:
            self._failed |= {other: problem for other, s in waiting.items() if not s.is_settled()}
            self._failed[run_id] = problem
            self._shipments[run_id] = self._shipments.pop(run_id)
        if self._num_failures == 0:
            logger.warning("metrics wait on disk until the tracker takes them again: %s", problem)
        self._num_failures += 1

"""One launch's tracking: server, sink and shipper, begun and ended in the right order."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from orchestrator.telemetry import switch_off_telemetry
from orchestrator.tracking.mlflow_sink import MlflowSink
from orchestrator.tracking.outbox import Shipper
from orchestrator.tracking.server import LocalMlflowServer
from orchestrator.tracking.uri import check_tracking_uri, redact, resolve_tracking_uri

logger = logging.getLogger(__name__)


@contextmanager
def open_tracking(
    uri: str | None, *, results_dir: Path, experiment: str, flush_timeout_s: float = 60.0
) -> Iterator[Shipper]:
    """A running shipper to MLflow, and a local server if no address is given.

    A local server takes seconds to start; whoever has better to do enters this in a thread.

    Args:
        uri: `tracking.uri`; None: ``$MLFLOW_TRACKING_URI``, else a local server over SQLite.
        results_dir: Where a local server keeps its data.
        experiment: Name of the MLflow experiment.
        flush_timeout_s: How long to wait at the end for what has not arrived.

    Yields:
        Shipper: Running; add the sweep and its trials to it. On leaving the block, the last state
            that the folders hold is delivered, and what could not be is named in the log and kept
            for the next launch.

    Raises:
        TrackingError: If tracking cannot start.
    """
    switch_off_telemetry()
    with ExitStack() as stack:
        address = resolve_tracking_uri(uri)
        shipper = (
            _remote(address, experiment) if address else _local(results_dir, experiment, stack)
        )
        shipper.start()
        try:
            yield shipper
        finally:
            for line in shipper.close(flush_timeout_s):
                logger.warning("not delivered, kept for the next launch: %s", line)


def _remote(address: str, experiment: str) -> Shipper:
    check_tracking_uri(address)
    sink = MlflowSink(address, experiment)
    sink.open()
    logger.info("tracking: experiment %s at %s", experiment, redact(address))
    return Shipper(sink)


def _local(results_dir: Path, experiment: str, stack: ExitStack) -> Shipper:
    address = stack.enter_context(LocalMlflowServer(results_dir)).uri
    sink = MlflowSink(address, experiment)
    sink.open()
    logger.info("tracking: experiment %s at %s", experiment, address)
    return Shipper(sink)

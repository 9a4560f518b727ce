"""Copies of a sweep's trials on other storage: brought back before it, sent beside it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from apt_core.trace import span
from jobs.planning import Plan
from orchestrator.execution.stopping import StopSignal

logger = logging.getLogger(__name__)


@contextmanager
def mirroring(plan: Plan, stop: StopSignal) -> Iterator[None]:
    """Inside the block trials are copied to `orchestration.mirror`, if there is one.

    Args:
        plan: The sweep.
        stop: A sweep that was told to stop does not wait long for a storage.

    Yields:
        None: Once every trial whose copy is further than its folder has been brought back.

    Raises:
        MirrorError: A copy cannot be read.
    """
    address = plan.config.orchestration.mirror_address
    if address is None:
        yield
        return
    # fsspec is not for those who copy nothing.
    from orchestrator.mirror.address import remote_folders
    from orchestrator.mirror.mirror import END_TIMEOUT_S, STOP_TIMEOUT_S, Mirror

    mirror = Mirror(remote_folders(address, plan.config.name), plan.specs)
    with span("mirror"):
        mirror.restore()
    mirror.start()
    try:
        yield
    finally:
        with span("mirror"):
            behind = mirror.close(STOP_TIMEOUT_S if stop.requested else END_TIMEOUT_S)
        if behind:
            logger.warning(
                "%d of %d copies at %s are behind (%s ...); the same command sends them",
                len(behind),
                len(plan.specs),
                address,
                behind[0],
            )

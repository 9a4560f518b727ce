"""Is the private cluster still there? Asked of its processes: Tune would wait for it for ever."""

from collections.abc import Sequence
from contextlib import suppress

import psutil

from apt_core.errors import AptError

VITAL = ("raylet", "gcs_server")
"""Processes without which a cluster of one machine is none."""


class ClusterLostError(AptError):
    """The cluster that the sweep started for itself has died under it, or did not come up."""


def vital_processes() -> list[psutil.Process]:
    """The processes that a cluster which this process has started cannot do without."""
    children = psutil.Process().children()
    return [child for child in children if child.name() in VITAL]


def find_dead(processes: Sequence[psutil.Process]) -> ClusterLostError | None:
    """What to raise if one of the processes has ended; None: all are there.

    Args:
        processes: What `vital_processes` found; none of a cluster that others started.

    Returns:
        The error, for whoever can raise it after tidying up.
    """
    for process in processes:
        if not _is_alive(process):
            return ClusterLostError(f"the private Ray cluster is gone: {process.pid} has ended")
    return None


def _is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False

"""Connecting to Ray: a cluster by its address, or a private one that ends with the driver."""

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import ray

from apt_core.trace import span
from orchestrator.execution.address import PRIVATE, check_address, check_private_cluster, no_cluster
from orchestrator.execution.liveness import ClusterLostError, vital_processes
from orchestrator.execution.local_node import num_local_cpus
from orchestrator.execution.placement import Node
from orchestrator.execution.train_run import TRAIN_ENV
from orchestrator.telemetry import switch_off_telemetry

DRIVER_RESOURCE = "aptune_driver"
"""Trial drivers hold one of these, never a CPU: it would be missing to their own workers."""
HEAD_RESOURCE = "node:__internal_head__"
"""Every Ray cluster's head node offers 1 of this; used where `DRIVER_RESOURCE` is not declared."""
MAX_DRIVERS = 1000
OBJECT_STORE_BYTES = 128 * 2**20
"""Workers read their data themselves; the store only carries messages."""
LONGEST_TEMP_ROOT = 15
"""Ray puts unix sockets (limit 107 characters) some 65 characters below its folder."""
TEMP_PREFIX = "apt-"
NodesNow = Callable[[], tuple[Node, ...]]


@contextmanager
def driver_output(log: Path) -> Iterator[None]:
    """Inside the block, what Ray prints in this process (banners, notes) goes to `log`.

    Consoles and log handlers that were bound to the real streams before keep writing to them.
    """
    with (
        log.open("a", buffering=1, encoding="utf-8") as file,
        redirect_stdout(file),
        redirect_stderr(file),
    ):
        yield


@contextmanager
def cluster(address: str | None) -> Iterator[NodesNow]:
    """Be connected to Ray inside the block; afterwards nothing that we started is left.

    Args:
        address: An existing cluster (``auto``, ``host:port``, ``ray://...``); None, empty or
            ``local``: a private one.

    Yields:
        NodesNow: Tells what the cluster has.

    Raises:
        ConfigError: If there is no cluster at `address`, or a private one would be open to all.
        ClusterLostError: If a private one does not come up.
    """
    _quieten()
    temp_dir = None
    try:
        nodes: NodesNow = cluster_nodes
        with span("cluster"):
            if address not in PRIVATE:
                _connect(address)
            else:
                temp_dir = make_temp_dir()
                _start_local(temp_dir)
                # One node that does not change. Asking a cluster that has just died would hang.
                nodes = partial(tuple, cluster_nodes())
        yield nodes
    finally:
        with span("cluster"):
            ray.shutdown()
            if temp_dir is not None:
                shutil.rmtree(temp_dir, ignore_errors=True)


def driver_resources() -> dict[str, float]:
    """What one trial driver asks for: our own resource, or a sliver of the head node."""
    if DRIVER_RESOURCE in ray.cluster_resources():
        return {"CPU": 0, DRIVER_RESOURCE: 1}
    return {"CPU": 0, HEAD_RESOURCE: 1 / MAX_DRIVERS}


def cluster_nodes() -> tuple[Node, ...]:
    """The nodes that are alive now, each with all that it has."""
    return nodes_of(ray.nodes())


def nodes_of(listing: Sequence[Mapping[str, Any]]) -> tuple[Node, ...]:
    """Nodes from what `ray.nodes` lists; the dead are left out.

    Args:
        listing: Dictionaries with ``Alive``, ``NodeManagerHostname`` and ``Resources``.

    Returns:
        The living nodes, those that hold drivers marked (see `driver_resources`).
    """
    alive = [node for node in listing if node["Alive"]]
    is_labelled = any(DRIVER_RESOURCE in node["Resources"] for node in alive)
    home = DRIVER_RESOURCE if is_labelled else HEAD_RESOURCE
    return tuple(
        Node(
            name=node["NodeManagerHostname"],
            cpus=has.get("CPU", 0.0),
            gpus=(1.0,) * int(has.get("GPU", 0)),
            memory_gib=has.get("memory", 0.0) / 2**30,
            holds_drivers=home in has,
        )
        for node in alive
        for has in [node["Resources"]]
    )


def make_temp_dir() -> Path:
    """A short, private folder for Ray's session, named after this process."""
    root = Path(tempfile.gettempdir())
    if len(str(root)) > LONGEST_TEMP_ROOT:
        root = Path("/tmp")
    remove_stale_dirs(root)
    return Path(tempfile.mkdtemp(prefix=f"{TEMP_PREFIX}{os.getpid()}-", dir=root))


def remove_stale_dirs(root: Path) -> None:
    """Remove the folders of drivers of ours that were killed and could not do it themselves."""
    for folder in root.glob(f"{TEMP_PREFIX}*-*"):
        pid = folder.name.removeprefix(TEMP_PREFIX).partition("-")[0]
        is_stale = pid.isdigit() and not Path("/proc", pid).exists()
        if is_stale and folder.stat().st_uid == os.getuid():
            shutil.rmtree(folder, ignore_errors=True)


def _start_local(temp_dir: Path) -> None:
    check_private_cluster()
    # Nobody takes a node of one machine away; the watcher would be one more process per trial.
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    try:
        ray.init(
            address="local",
            num_cpus=num_local_cpus(),
            resources={DRIVER_RESOURCE: MAX_DRIVERS},
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _temp_dir=str(temp_dir),
        )
    except Exception as error:  # on a busy machine Ray gives up after 30 s, and leaves a mess
        for process in vital_processes():
            process.kill()
        raise ClusterLostError(f"the private Ray cluster did not come up: {error}") from error


def _connect(address: str) -> None:
    check_address(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise no_cluster(address, error) from error


def _quieten() -> None:
    """Environment that Ray reads at start; a value set by the user wins."""
    quiet = {
        "RAY_ENABLE_AUTO_CONNECT": "0",  # a stopped sweep must not start another cluster
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        # One by default for a searcher: trials would start one after the other. Ours counts itself.
        "TUNE_MAX_PENDING_TRIALS_PG": str(MAX_DRIVERS),
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # workers write their own log
        **TRAIN_ENV,
    }
    for name, value in quiet.items():
        os.environ.setdefault(name, value)
    switch_off_telemetry()

"""A Ray cluster with a job server for tests: its own ports, folder and token, on loopback."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.two_machines import LOOPBACK, Machine

REPOSITORY = Path(__file__).parents[1]
HOST = "127.0.0.1"
HERE = Machine(LOOPBACK[0])
WORKER_PORTS = (
    "dashboard-agent-listen-port",
    "dashboard-agent-grpc-port",
    "runtime-env-agent-port",
    "metrics-export-port",
    "node-manager-port",
    "object-manager-port",
)
PORTS = ("port", "dashboard-port", "ray-client-server-port", *WORKER_PORTS)
START_TIMEOUT_S = 240
MAX_STARTS = 3
"""On a busy machine: Ray itself gives a node 30 s, and no setting changes that."""
STARTED = b"Ray runtime started"
OURS = ("RayTrainWorker", "TrainController", "ImplicitFunc", "jobs.cli", "aptune sweep")
"""In the command lines of processes that belong to a job, not to the cluster."""


@dataclass
class RayHead:
    """A running head."""

    address: str
    """Of its job server."""
    cluster_address: str
    """``host:port``, as `ray.init` takes it."""
    environment: Mapping[str, str]
    """For clients: the job server's address and the token among it."""
    command: Sequence[str]
    folder: Path
    machine: Machine = HERE
    has_dashboard: bool = True
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        log = self.folder / "head.log"
        for tries_left in reversed(range(MAX_STARTS)):
            begin = log.stat().st_size if log.exists() else 0
            # A new machine has no such file. Here it and the worker beside us, whose command line
            # holds our address, would make Ray believe that we are running already.
            (self.folder / "ray" / "ray_current_cluster").unlink(missing_ok=True)
            self.process = start_ray(self.command, log, self.environment, self.machine)
            try:
                if self.has_dashboard:
                    _wait_until_it_answers(self.address, self.process, log)
                else:
                    _wait_until_it_says_so(self.process, log, begin)
            except AssertionError:
                self.kill()
                if not tries_left:
                    raise
            else:
                return

    def kill(self) -> None:
        """As a machine dies: every process of the node, drivers of jobs among them."""
        if self.process is not None:
            end_family(self.process)

    def processes_of_jobs(self) -> list[str]:
        """Command lines of what jobs have running."""
        assert self.process is not None
        return processes_of_jobs(self.process)


@contextmanager
def ray_head(
    store: Mapping[str, str] | None = None,
    *options: str,
    has_dashboard: bool = True,
    machine: Machine = HERE,
) -> Iterator[RayHead]:
    """Start a head; afterwards nothing of it is left.

    Args:
        store: More environment for the head itself, e.g. where its state outlives it.
        options: More options for `ray start`.
        has_dashboard: Whether it has a job server, which takes as long as the rest to start. It
            can be asked on loopback only.
        machine: Where it runs.
    """
    folder = Path(tempfile.mkdtemp(prefix="apt-h-", dir="/tmp"))  # Ray's sockets want short paths
    token = folder / "token"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    ports = free_ports(PORTS)
    address = f"http://{HOST}:{ports['dashboard-port']}"
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "NO_PROXY": f"{HOST},{machine.address}",
        "RAY_ADDRESS": address,
        **(store or {}),
    }
    dashboard = f"--include-dashboard={has_dashboard}"
    command = [*_arguments(folder, machine, ports), dashboard, *options]
    gcs = f"{machine.address}:{ports['port']}"
    head = RayHead(address, gcs, environment, command, folder, machine, has_dashboard)
    try:
        head.start()
        yield head
    finally:
        head.kill()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def ray_worker(
    head: RayHead, machine: Machine, *options: str
) -> "Iterator[subprocess.Popen[bytes]]":
    """Another node of one CPU, once it is up; the death of the head leaves it alone.

    Args:
        head: The head to join.
        machine: Where it runs.
        options: More options for `ray start`.
    """
    ports = free_ports(WORKER_PORTS)
    join = [f"--address={head.cluster_address}", "--num-cpus=1"]
    arguments = [*join, *_node_arguments(machine, ports), *options]
    log = head.folder / "worker.log"
    begin = log.stat().st_size if log.exists() else 0
    process = start_ray(arguments, log, head.environment, machine)
    try:
        _wait_until_it_says_so(process, log, begin)
        yield process
    finally:
        end_family(process)


def processes_of_jobs(node: "subprocess.Popen[bytes]") -> list[str]:
    """Command lines of what jobs have running on a node."""
    lines = []
    for process in psutil.Process(node.pid).children(recursive=True):
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if any(name in line for name in OURS):
            lines.append(line)
    return lines


def start_ray(
    options: Sequence[str], log: Path, environment: Mapping[str, str], machine: Machine = HERE
) -> "subprocess.Popen[bytes]":
    """`ray start` as a process that stays; nobody may tell it to join another cluster."""
    known = {name: value for name, value in environment.items() if name != "RAY_ADDRESS"}
    with log.open("ab") as output:
        return subprocess.Popen(
            [*machine.enter, Path(sys.executable).with_name("ray"), "start", "--block", *options],
            cwd=log.parent,
            env={**known, "PYTHONUNBUFFERED": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _arguments(folder: Path, machine: Machine, ports: Mapping[str, int]) -> list[str]:
    return [
        "--head",
        *_node_arguments(machine, ports),
        f"--dashboard-host={HOST}",
        "--num-cpus=2",
        '--resources={"aptune_driver": 1000}',
        f"--temp-dir={folder / 'ray'}",
    ]


def _node_arguments(machine: Machine, ports: Mapping[str, int]) -> list[str]:
    return [
        f"--node-ip-address={machine.address}",
        *(f"--{name}={port}" for name, port in ports.items()),
        f"--object-store-memory={128 * 2**20}",
        "--disable-usage-stats",
    ]


def free_ports(names: Sequence[str]) -> dict[str, int]:
    """For every service of a node; all at once, so that they differ."""
    with ExitStack() as stack:
        ports = {}
        for name in names:
            probe = stack.enter_context(socket.socket())
            probe.bind(("", 0))  # free on every address
            ports[name] = int(probe.getsockname()[1])
        return ports


def _wait_until_it_answers(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text(errors="replace")
        try:
            opener.open(f"{address}/api/version", timeout=1).close()
        except urllib.error.HTTPError:
            return  # it wants the token: it is there
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"no answer from {address}: {log.read_text(errors='replace')}")


def _wait_until_it_says_so(process: "subprocess.Popen[bytes]", log: Path, begin: int) -> None:
    """That all of the node has started: Ray's ports are open before its node can be used."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while STARTED not in (said := log.read_bytes()[begin:]):
        told = said.decode(errors="replace")
        assert process.poll() is None, told
        assert time.monotonic() < deadline, f"not started: {told}"
        time.sleep(0.1)


def end_family(process: "subprocess.Popen[bytes]") -> None:
    """SIGKILL for the whole family: nothing in it is worth the half minute of a graceful end."""
    family = [psutil.Process(process.pid)] if process.poll() is None else []
    family += [child for one in family for child in one.children(recursive=True)]
    for one in family:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait()
    psutil.wait_procs(family, timeout=10)

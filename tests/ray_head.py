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

REPOSITORY = Path(__file__).parents[1]
HOST = "127.0.0.1"
NODE = "127.0.0.2"
"""Ray writes 127.0.0.1 as the host's own address; this one it leaves alone."""
PORTS = (
    "port",
    "dashboard-port",
    "dashboard-agent-listen-port",
    "dashboard-agent-grpc-port",
    "runtime-env-agent-port",
    "metrics-export-port",
    "node-manager-port",
    "object-manager-port",
    "ray-client-server-port",
)
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
    has_dashboard: bool = True
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        log = self.folder / "head.log"
        for tries_left in reversed(range(MAX_STARTS)):
            begin = log.stat().st_size if log.exists() else 0
            # A new machine has no such file. Here it and the worker beside us, whose command line
            # holds our address, would make Ray believe that we are running already.
            (self.folder / "ray" / "ray_current_cluster").unlink(missing_ok=True)
            self.process = start_ray(self.command, log, self.environment)
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
        lines = []
        assert self.process is not None
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                line = " ".join(process.cmdline())
            except psutil.Error:
                continue
            if any(name in line for name in OURS):
                lines.append(line)
        return lines


@contextmanager
def ray_head(
    store: Mapping[str, str] | None = None, *options: str, has_dashboard: bool = True
) -> Iterator[RayHead]:
    """Start a head; afterwards nothing of it is left.

    Args:
        store: More environment for the head itself, e.g. where its state outlives it.
        options: More options for `ray start`.
        has_dashboard: Whether it has a job server, which takes as long as the rest to start.
    """
    folder = Path(tempfile.mkdtemp(prefix="apt-h-", dir="/tmp"))  # Ray's sockets want short paths
    token = folder / "token"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    ports = free_ports(NODE)
    address = f"http://{HOST}:{ports['dashboard-port']}"
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "NO_PROXY": f"{HOST},{NODE}",
        "RAY_ADDRESS": address,
        **(store or {}),
    }
    command = [*_arguments(folder, ports), f"--include-dashboard={has_dashboard}", *options]
    cluster_address = f"{NODE}:{ports['port']}"
    head = RayHead(address, cluster_address, environment, command, folder, has_dashboard)
    try:
        head.start()
        yield head
    finally:
        head.kill()
        shutil.rmtree(folder, ignore_errors=True)


def start_ray(
    options: Sequence[str], log: Path, environment: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    """`ray start` as a process that stays; nobody may tell it to join another cluster."""
    known = {name: value for name, value in environment.items() if name != "RAY_ADDRESS"}
    with log.open("ab") as output:
        return subprocess.Popen(
            [Path(sys.executable).with_name("ray"), "start", "--block", *options],
            cwd=log.parent,
            env={**known, "PYTHONUNBUFFERED": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _arguments(folder: Path, ports: Mapping[str, int]) -> list[str]:
    return [
        "--head",
        *(f"--{name}={port}" for name, port in ports.items()),
        f"--node-ip-address={NODE}",
        f"--dashboard-host={HOST}",
        "--num-cpus=2",
        '--resources={"aptune_driver": 1000}',
        f"--temp-dir={folder / 'ray'}",
        f"--object-store-memory={128 * 2**20}",
        "--disable-usage-stats",
    ]


def free_ports(host: str) -> dict[str, int]:
    """For every service of a node; all at once, so that they differ."""
    with ExitStack() as stack:
        ports = {}
        for name in PORTS:
            probe = stack.enter_context(socket.socket())
            probe.bind((host, 0))
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

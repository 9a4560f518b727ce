"""The process of an MLflow server: its command, its start, and its end whatever ends us."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

from apt_core.errors import TrackingError
from orchestrator.binding import LOOPBACK, check_binding, is_loopback_host
from orchestrator.telemetry import NO_TELEMETRY
from orchestrator.tracking.uri import QUIET_ENV

AUTH_VARIABLES = ("MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY")
"""What MLflow's password check wants: the administrator's first password, a key for its forms."""

_SERVER_ENV = {
    **QUIET_ENV,
    # Seven more processes, 600 MB, for features that a tracking server of trainings does not use.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    # What lies in the folder that it runs in must not pass for a Python module.
    "PYTHONSAFEPATH": "1",
}


def server_command(results_dir: Path, port: int, host: str = LOOPBACK) -> list[str]:
    """The command that serves the tracking data of a results folder, during and after a sweep.

    Args:
        results_dir: `orchestration.results_dir`.
        port: Where to listen.
        host: The address to listen at. Any but this machine's own turns MLflow's passwords on.

    Returns:
        Program and arguments.

    Raises:
        ConfigError: If others could reach it and no password has been set for it.
    """
    check_binding(
        "the MLflow server",
        host,
        is_protected=all(os.environ.get(name) for name in AUTH_VARIABLES),
        todo=f"set {' and '.join(AUTH_VARIABLES)}, or leave it on {LOOPBACK}",
    )
    folder = results_dir.resolve()
    auth = [] if is_loopback_host(host) else ["--app-name", "basic-auth"]
    return [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        f"sqlite:///{folder / 'mlflow.db'}",
        "--artifacts-destination",
        str(folder / "mlflow-artifacts"),
        "--host",
        host,
        "--port",
        str(port),
        "--workers",
        "1",
        *auth,
    ]


def start_server(
    results_dir: Path, port: int, host: str = LOOPBACK, output: IO[bytes] | None = None
) -> "subprocess.Popen[bytes]":
    """Start a server in a process group of its own; it answers seconds later.

    It ends with `stop_server`, and as well with this process, however this process ends: what
    supervises it reads a pipe that only we hold open.

    Args:
        results_dir: `orchestration.results_dir`; there MLflow keeps its list of users, too.
        port: Where to listen.
        host: The address to listen at, see `server_command`.
        output: Where its log goes; None: to our own output.

    Returns:
        The supervising process, leader of the group.

    Raises:
        ConfigError: See `server_command`.
        TrackingError: If the port is taken.
    """
    command = server_command(results_dir, port, host)
    if is_port_taken(port):
        raise TrackingError(
            f"port {port} on {LOOPBACK} is taken; give another, or use the server that is there"
        )
    supervisor = [sys.executable, "-I", str(Path(__file__).with_name("supervise.py"))]
    return subprocess.Popen(
        [*supervisor, *command],
        cwd=results_dir,
        env={**NO_TELEMETRY, **os.environ, **_SERVER_ENV},
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=None if output is None else subprocess.STDOUT,
        # Ctrl-C at the terminal is for us; the server must outlive the last delivery.
        start_new_session=True,
    )


def stop_server(process: "subprocess.Popen[bytes]") -> None:
    """End a server of `start_server` and wait until its processes are gone."""
    if process.stdin is not None:
        process.stdin.close()
    process.wait()
    end_group(process.pid)


def was_killed(status: int) -> bool:
    """Whether a signal ended the supervising process, or the server itself.

    Args:
        status: Of the supervising process; it passes its child's on, modulo 256 where negative.

    Returns:
        False for an exit of its own, whatever the code.
    """
    return status < 0 or status > 256 - signal.NSIG


def end_group(pgid: int) -> None:
    """End what a dead leader has left of its process group."""
    with suppress(ProcessLookupError):
        os.killpg(pgid, signal.SIGKILL)


def is_port_taken(port: int) -> bool:
    """Whether something listens at a port of this machine's own address."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((LOOPBACK, port)) == 0

"""`LocalMlflowServer`: MLflow over SQLite in the results folder, for as long as a sweep runs.

A server that dies meanwhile is started again at the same address; what it missed waits on disk.
"""

import logging
import socket
import subprocess
import threading
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from apt_core.errors import TrackingError
from orchestrator.binding import LOOPBACK
from orchestrator.tracking.server_process import (
    end_group,
    is_port_taken,
    start_server,
    stop_server,
    was_killed,
)

logger = logging.getLogger(__name__)

LOG_FILE = "mlflow-server.log"
MAX_RESTARTS = 5
"""A server that dies more often is left alone: the next launch delivers what is on disk."""
PORT_TIMEOUT_S = 10.0
"""How long the kernel may take to end killed processes and to close their port."""
_LOG_LINES_SHOWN = 12
_PROGRESS_EVERY_S = 10.0
_POLL_S = 0.1


class LocalMlflowServer:
    """Context manager around one server process group; it ends with us, whatever ends us.

    Args:
        results_dir: Where the database, the artifacts and the server's log are kept.
        port: Where to listen; None: a free port.
        start_timeout_s: When to give up waiting for the first answer.
    """

    def __init__(
        self, results_dir: Path, port: int | None = None, *, start_timeout_s: float = 300.0
    ) -> None:
        self._folder = results_dir
        self._port = port or _free_port()
        self._start_timeout_s = start_timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._changing = threading.Lock()
        self._stopped = False

    @property
    def uri(self) -> str:
        """The address of the server."""
        return f"http://{LOOPBACK}:{self._port}"

    @property
    def log_path(self) -> Path:
        """Where the server writes its log."""
        return self._folder / LOG_FILE

    @property
    def pid(self) -> int | None:
        """Process id and process group of the server while it runs."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the process and return at once; it is ready seconds later, see `wait_ready`.

        Raises:
            TrackingError: If the port is taken.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._process = start_server(self._folder, self._port, output=log)

    def wait_ready(self) -> None:
        """Wait until the server answers; one that is killed meanwhile is started again.

        Raises:
            TrackingError: If it ends by itself or takes too long; with the last lines of its log.
        """
        began = time.monotonic()
        next_note = began + _PROGRESS_EVERY_S
        tries_left = MAX_RESTARTS
        while not self._is_healthy():
            now = time.monotonic()
            if self._has_ended():
                tries_left -= 1
                if tries_left < 0 or not self._start_again_if_killed():
                    raise TrackingError(self._failure("ended while starting"))
            if now - began > self._start_timeout_s:
                self.stop()
                raise TrackingError(
                    self._failure(f"did not answer in {self._start_timeout_s:.0f} s")
                )
            if now > next_note:
                logger.info("waiting for the MLflow server (%.0f s so far)", now - began)
                next_note += _PROGRESS_EVERY_S
            time.sleep(_POLL_S)
        logger.info("MLflow: %s (ready after %.1f s)", self.uri, time.monotonic() - began)

    def stop(self) -> None:
        """End the server and wait until its processes are gone; harmless if there is none."""
        with self._changing:
            self._stopped = True
            process, self._process = self._process, None
        if process is not None:
            stop_server(process)

    def __enter__(self) -> Self:
        """The server, ready to be used."""
        logger.info("starting a local MLflow server, log: %s", self.log_path)
        self._stopped = False
        self.start()
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        threading.Thread(target=self._keep_running, name="mlflow-keeper", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the server."""
        self.stop()

    def _keep_running(self) -> None:
        """Start the server again whenever it ends before `stop`, at the same address."""
        for _ in range(MAX_RESTARTS):
            process = self._process
            if process is None:
                return
            status = process.wait()
            with self._changing:
                if self._stopped or not self._start_again(process.pid, status):
                    return

    def _wait_for_port(self) -> None:
        deadline = time.monotonic() + PORT_TIMEOUT_S
        while is_port_taken(self._port) and time.monotonic() < deadline:
            time.sleep(_POLL_S)

    def _has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _start_again_if_killed(self) -> bool:
        """A server that ended by itself has said why, and would do so again."""
        process = self._process
        if process is None or not was_killed(process.wait()):
            return False
        return self._start_again(process.pid, process.wait())

    def _start_again(self, group: int, status: int) -> bool:
        end_group(group)
        self._wait_for_port()  # what was left of it held the port
        logger.warning(
            "the local MLflow server ended (status %d) and is started again; metrics wait on disk "
            "meanwhile; log: %s",
            status,
            self.log_path,
        )
        try:
            self.start()
        except (TrackingError, OSError) as error:
            logger.warning("it does not start: %s; the next launch delivers what is missing", error)
            return False
        return True

    def _is_healthy(self) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{self.uri}/health", timeout=1.0):
                return True
        except OSError:
            return False

    def _failure(self, what: str) -> str:
        lines = self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        shown = "\n  ".join(lines[-_LOG_LINES_SHOWN:])
        return (
            f"the local MLflow server {what}; see {self.log_path}, or set tracking.enabled=false. "
            f"Its last lines:\n  {shown}"
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from apt_core.errors import DataError
from jobs.common import exit_code_of
from jobs.ui import app, ui
from orchestrator.tracking import server_process

SERVE = """
import http.server, sys
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), H).serve_forever()
"""


def test_a_folder_without_a_database_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no mlflow\.db inside"):
        ui(tmp_path)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What would be run; nothing is."""
    calls: list[dict[str, Any]] = []

    class Ended:
        stdin, pid, returncode = None, 2**22 + 1, 0  # a process number that Linux never gives

        def wait(self) -> int:
            return 0

    def start(command: list[str], **options: Any) -> Ended:
        calls.append({"command": command, **options})
        return Ended()

    monkeypatch.setattr(server_process.subprocess, "Popen", start)
    return calls


def arguments(folder: Path, *more: str) -> list[str]:
    (folder / "mlflow.db").touch()
    return [str(folder), "--port", "5999", *more]


def test_the_page_is_for_this_machine(tmp_path: Path, started: list[dict[str, Any]]) -> None:
    assert exit_code_of(lambda: app(arguments(tmp_path), standalone_mode=False)) == 0
    (call,) = started
    command = call["command"][3:]  # after the supervisor
    assert command[:3] == [sys.executable, "-m", "mlflow"]
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert "--app-name" not in command
    assert call["env"]["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"


def test_for_others_it_wants_a_password_and_says_which(
    tmp_path: Path,
    started: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("MLFLOW_FLASK_SERVER_SECRET_KEY", raising=False)
    monkeypatch.setenv("MLFLOW_AUTH_ADMIN_PASSWORD", "a long one")
    asked = arguments(tmp_path, "--host", "0.0.0.0")
    assert exit_code_of(lambda: app(asked, standalone_mode=False)) == 2
    assert started == []
    assert capsys.readouterr().err == (
        "error: the MLflow server would listen on 0.0.0.0, for whoever can reach this machine, and "
        "ask for neither password nor token; set MLFLOW_AUTH_ADMIN_PASSWORD and "
        "MLFLOW_FLASK_SERVER_SECRET_KEY, or leave it on 127.0.0.1\n"
    )
    monkeypatch.setenv("MLFLOW_FLASK_SERVER_SECRET_KEY", "another")
    assert exit_code_of(lambda: app(asked, standalone_mode=False)) == 0
    (call,) = started
    assert call["command"][-2:] == ["--app-name", "basic-auth"]
    assert call["cwd"] == tmp_path  # MLflow's list of users stays there
    assert call["env"]["PYTHONSAFEPATH"] == "1"
    assert not any("a long one" in word for word in call["command"])


def test_a_server_that_fails_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = [sys.executable, "-c", "raise SystemExit(3)"]
    monkeypatch.setattr(server_process, "server_command", lambda *_: failing)
    assert exit_code_of(lambda: app(arguments(tmp_path), standalone_mode=False)) == 1


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(holds: Callable[[], bool], timeout_s: float = 60.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


def answers(port: int) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
        return True
    return False


@contextmanager
def serving(command: list[str], port: int) -> "Iterator[subprocess.Popen[bytes]]":
    """`aptune ui` as a process of its own, when it answers; what is left of it is ended."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            assert wait_until(lambda: answers(port) or process.poll() is not None)
            assert process.poll() is None
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(("sent", "code"), [("SIGINT", 0), ("SIGTERM", -15), ("SIGKILL", -9)])
def test_however_it_ends_the_server_ends_with_it(tmp_path: Path, sent: str, code: int) -> None:
    port = free_port()
    driver = f"""
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where it was started in background
from jobs import ui
from orchestrator.tracking import server_process
serve = [sys.executable, "-c", {SERVE!r}, "{port}"]
server_process.server_command = lambda *_: serve
sys.argv[1:] = {arguments(tmp_path)!r}
ui.run_app(ui.app)
"""
    with serving([sys.executable, "-c", driver], port) as process:
        process.send_signal(signal.Signals[sent])
        assert process.wait(60) == code
        assert wait_until(lambda: not answers(port))


@pytest.mark.services
def test_the_real_server_runs_without_job_runners_and_leaves_none_behind(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "mlflow.db").touch()
    command = [sys.executable, "-m", "jobs.ui", str(tmp_path), "--port", str(port)]
    with serving(command, port) as process:
        before = processes_below(process.pid)
        assert len(before) > 1  # the supervisor and MLflow's own
        assert not any("huey" in line for line in before.values())
        process.terminate()
        process.wait(60)
        assert wait_until(lambda: not before.keys() & running())


def running() -> set[int]:
    return {int(name) for name in os.listdir("/proc") if name.isdigit()}


def processes_below(pid: int) -> dict[int, str]:
    """Number and command line of all descendants."""
    listed = subprocess.run(
        ["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    )
    rows = [row.split(None, 2) for row in listed.stdout.splitlines()]
    found: dict[int, str] = {}
    for _ in rows:  # once per generation would do
        family = {str(pid), *map(str, found)}
        found |= {int(number): line for number, parent, line in rows if parent in family}
    return found

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

from apt_core.errors import TrackingError
from orchestrator.tracking import server as server_module
from orchestrator.tracking import server_process
from orchestrator.tracking.server import LocalMlflowServer


def group_is_gone(pgid: int, timeout_s: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            os.killpg(pgid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def fake_command(code: str) -> object:
    return lambda results_dir, port, host: [sys.executable, "-c", code, str(port)]


HEALTHY = """
import http.server, sys
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), H).serve_forever()
"""


def test_a_server_that_dies_at_the_start_is_an_error_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    code = "import sys; print('cannot open database'); sys.exit(3)"
    monkeypatch.setattr(server_process, "server_command", fake_command(code))
    with (
        pytest.raises(TrackingError, match=r"(?s)ended while starting.*cannot open database"),
        LocalMlflowServer(tmp_path),
    ):
        pass
    assert "is started again" not in caplog.text


# The first start is killed: the supervisor, or the server below it. The second one answers.
KILLED_ONCE = """
import os, pathlib, signal, sys
marker = pathlib.Path({marker!r})
if not marker.exists():
    marker.touch()
    os.kill({victim}, signal.SIGKILL)
    signal.pause()
"""


@pytest.mark.parametrize("victim", ["os.getppid()", "os.getpid()"])
def test_a_server_that_is_killed_at_the_start_is_started_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    victim: str,
) -> None:
    code = KILLED_ONCE.format(marker=str(tmp_path / "killed"), victim=victim) + HEALTHY
    monkeypatch.setattr(server_process, "server_command", fake_command(code))
    with LocalMlflowServer(tmp_path) as server:
        with urllib.request.urlopen(server.uri) as answer:
            assert answer.status == 200
        assert caplog.text.count("is started again") == 1


def test_a_server_that_is_always_killed_at_the_start_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    monkeypatch.setattr(server_process, "server_command", fake_command(code))
    monkeypatch.setattr(server_module, "MAX_RESTARTS", 2)
    with pytest.raises(TrackingError, match="ended while starting"), LocalMlflowServer(tmp_path):
        pass
    assert caplog.text.count("is started again") == 2


def test_a_server_that_never_answers_is_an_error_and_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        server_process, "server_command", fake_command("import time; time.sleep(60)")
    )
    server = LocalMlflowServer(tmp_path, start_timeout_s=0.5)
    server.start()
    pid = server.pid
    assert pid is not None
    with pytest.raises(TrackingError, match="did not answer in"):
        server.wait_ready()
    assert server.pid is None
    assert group_is_gone(pid)


def test_leaving_the_block_ends_every_process_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_process, "server_command", fake_command(HEALTHY))
    with LocalMlflowServer(tmp_path) as server:
        pid = server.pid
        assert pid is not None
        assert os.getpgid(pid) == pid != os.getpgid(0)
    assert group_is_gone(pid)


def test_a_server_that_ignores_the_signal_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stubborn = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + HEALTHY
    monkeypatch.setattr(server_process, "server_command", fake_command(stubborn))
    with LocalMlflowServer(tmp_path) as server:
        pid = server.pid
        assert pid is not None
    assert group_is_gone(pid)


def test_the_server_ends_when_its_driver_is_killed(tmp_path: Path) -> None:
    driver = f"""
import sys, time
from pathlib import Path
from orchestrator.tracking import server, server_process
serve = [sys.executable, "-c", {HEALTHY!r}]
server_process.server_command = lambda folder, port, host: [*serve, str(port)]
local = server.LocalMlflowServer(Path({str(tmp_path)!r}))
with local:
    print(local.pid, flush=True)
    time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", driver], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        server_pid = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
    assert group_is_gone(server_pid)


def serving_pid(server: LocalMlflowServer) -> int:
    """Of the process that answers, which is not the supervisor's."""
    with urllib.request.urlopen(server.uri) as answer:
        return int(answer.read())


def wait_for_another(server: LocalMlflowServer, earlier: int) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(OSError, ValueError):  # killed before it answered, or in the middle of it
            if (pid := serving_pid(server)) != earlier:
                return pid
        time.sleep(0.05)
    raise AssertionError("the server did not come back")


def keepers() -> set[threading.Thread]:
    """The threads that start servers again."""
    return {thread for thread in threading.enumerate() if thread.name == "mlflow-keeper"}


def test_a_server_that_is_killed_comes_back_at_the_same_address_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    telling = HEALTHY.replace(
        "self.end_headers()", "self.end_headers(); self.wfile.write(str(os.getpid()).encode())"
    ).replace("import http.server", "import os, http.server")
    monkeypatch.setattr(server_process, "server_command", fake_command(telling))
    monkeypatch.setattr(server_module, "MAX_RESTARTS", 2)
    others = keepers()  # of servers that whole modules share
    with LocalMlflowServer(tmp_path) as server:
        (keeper,) = keepers() - others
        first = serving_pid(server)
        os.kill(first, signal.SIGKILL)
        second = wait_for_another(server, first)
        supervisor = server.pid
        assert supervisor is not None
        os.kill(supervisor, signal.SIGKILL)  # its child is left with the port
        third = wait_for_another(server, second)
        keeper.join(30)  # the last server may answer before the thread that started it has ended
        assert not keeper.is_alive()
        assert caplog.text.count("is started again") == 2
        os.kill(third, signal.SIGKILL)
        last = server.pid
        assert last is not None
    assert group_is_gone(last)


def test_a_server_whose_port_was_taken_meanwhile_stays_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server_process, "server_command", fake_command(HEALTHY))
    with LocalMlflowServer(tmp_path) as server:
        for module in (server_module, server_process):
            monkeypatch.setattr(module, "is_port_taken", lambda port: True)
        monkeypatch.setattr(server_module, "PORT_TIMEOUT_S", 0.2)
        pid = server.pid
        assert pid is not None
        os.killpg(pid, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while "does not start" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert "next launch delivers" in caplog.text


@pytest.mark.services
def test_the_real_server_answers_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with LocalMlflowServer(tmp_path / "results") as server:
        pid = server.pid
        assert pid is not None
        with urllib.request.urlopen(f"{server.uri}/health") as answer:
            assert answer.status == 200
        group = subprocess.run(
            ["ps", "-o", "args=", "-g", str(pid)], capture_output=True, text=True, check=False
        )
        assert "huey" not in group.stdout
    assert group_is_gone(pid)
    assert (tmp_path / "results" / "mlflow.db").exists()
    assert server.log_path.exists()

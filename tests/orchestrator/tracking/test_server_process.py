import socket
import subprocess
import sys
from pathlib import Path

import pytest

from apt_core.errors import TrackingError
from orchestrator.tracking import server_process as module
from orchestrator.tracking.server_process import (
    is_port_taken,
    server_command,
    start_server,
    stop_server,
    was_killed,
)


def test_the_server_keeps_its_data_in_the_results_folder(tmp_path: Path) -> None:
    command = server_command(tmp_path, 5001)
    assert f"sqlite:///{tmp_path.resolve()}/mlflow.db" in command
    assert command[command.index("--host") + 1] == "127.0.0.1"


@pytest.mark.parametrize(
    ("status", "killed"),
    # -9 of a child that the supervisor passes on is 247; 130 is Ctrl-C as a shell would tell it.
    [(0, False), (1, False), (3, False), (130, False), (-9, True), (-15, True), (247, True)],
)
def test_a_signal_is_told_from_an_exit(status: int, killed: bool) -> None:
    assert was_killed(status) == killed


def test_a_taken_port_is_an_error_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert is_port_taken(port)
        with pytest.raises(TrackingError, match=f"port {port} on 127.0.0.1 is taken"):
            start_server(tmp_path, port)
    assert not is_port_taken(port)


def test_its_process_runs_in_the_folder_without_mlflows_job_runners(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = """
import os
print(os.getcwd(), os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"],
      os.environ["MLFLOW_DISABLE_TELEMETRY"], flush=True)
import colorsys  # a file of that name in the folder must not be found
"""
    (tmp_path / "colorsys.py").write_text("raise SystemExit('the wrong module')")
    monkeypatch.setattr(module, "server_command", lambda *_: [sys.executable, "-c", code])
    with (tmp_path / "log").open("wb") as log:
        process = start_server(tmp_path, 1, output=log)
        assert process.wait(60) == 0
    stop_server(process)  # harmless when it has ended by itself
    assert (tmp_path / "log").read_text() == f"{tmp_path} false true\n"


def test_an_exit_status_of_the_server_is_the_supervisors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = [sys.executable, "-c", "raise SystemExit(3)"]
    monkeypatch.setattr(module, "server_command", lambda *_: failing)
    process: subprocess.Popen[bytes] = start_server(tmp_path, 1)
    assert process.wait(60) == 3
    stop_server(process)

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from apt_core.errors import DataError
from jobs import ui as module
from jobs.common import exit_code_of
from jobs.ui import app, ui


def test_a_folder_without_a_database_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no mlflow\.db inside"):
        ui(tmp_path)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What would be run; nothing is."""
    calls: list[dict[str, Any]] = []

    def run(command: list[str], **options: Any) -> "subprocess.CompletedProcess[bytes]":
        calls.append({"command": command, **options})
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(module.subprocess, "run", run)
    return calls


def arguments(folder: Path, *more: str) -> list[str]:
    (folder / "mlflow.db").touch()
    return [str(folder), *more]


def test_the_page_is_for_this_machine(tmp_path: Path, started: list[dict[str, Any]]) -> None:
    assert exit_code_of(lambda: app(arguments(tmp_path), standalone_mode=False)) == 0
    (call,) = started
    assert call["command"][:3] == [sys.executable, "-m", "mlflow"]
    assert call["command"][call["command"].index("--host") + 1] == "127.0.0.1"
    assert "--app-name" not in call["command"]


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

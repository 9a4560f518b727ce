import errno
import fcntl
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from apt_core.errors import UserError
from orchestrator.execution.lock import only_driver

HOLDER = """
import sys, time
from pathlib import Path
from orchestrator.execution.lock import only_driver
with only_driver(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_driver_is_refused_and_told_who_is_there(tmp_path: Path) -> None:
    with (
        only_driver(tmp_path),
        pytest.raises(UserError, match=r"process \d+ on .*aptune status"),
        only_driver(tmp_path),
    ):
        pass
    with only_driver(tmp_path):
        pass  # free again


def test_the_lock_of_a_killed_driver_is_free(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"process {holder.pid} on"), only_driver(tmp_path):
            pass
        holder.send_signal(signal.SIGKILL)
    with only_driver(tmp_path):
        pass


def test_those_that_share_keep_out_only_who_wants_it_alone(tmp_path: Path) -> None:
    with (
        only_driver(tmp_path, shared=True),
        only_driver(tmp_path, shared=True),
        pytest.raises(UserError),
        only_driver(tmp_path),
    ):
        pass


def test_a_file_system_without_locks_costs_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_locks(*args: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with only_driver(tmp_path):
        pass
    assert "has no locks" in caplog.text

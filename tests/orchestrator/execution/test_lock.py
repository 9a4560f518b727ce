import errno
import fcntl
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from apt_core.errors import AptError, UserError
from orchestrator.execution.lock import only_driver, only_training

HOLDER = """
import sys, time
from pathlib import Path
from orchestrator.execution import lock
with getattr(lock, sys.argv[2])(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def holding(folder: Path, lock: str) -> Iterator["subprocess.Popen[str]"]:
    """Another process that has the lock."""
    command = [sys.executable, "-c", HOLDER, str(folder), lock]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder


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
        [sys.executable, "-c", HOLDER, str(tmp_path), "only_driver"],
        stdout=subprocess.PIPE,
        text=True,
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


def test_a_training_waits_for_its_predecessor_to_end(tmp_path: Path) -> None:
    with holding(tmp_path, "only_training") as holder:
        told = f"process {holder.pid} on .* still trains it after 0 s"
        with pytest.raises(AptError, match=told), only_training(tmp_path, timeout_s=0.1):
            pass
        killer = threading.Timer(0.5, holder.kill)
        killer.start()
        began = time.monotonic()
        with only_training(tmp_path, timeout_s=60):
            assert time.monotonic() - began >= 0.4


def test_the_lock_of_a_training_is_not_the_lock_of_a_driver(tmp_path: Path) -> None:
    with only_driver(tmp_path), only_training(tmp_path, timeout_s=0.1):
        pass

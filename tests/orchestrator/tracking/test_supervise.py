"""The supervisor ends with its child, and its whole group ends with its parent."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.tracking import supervise

FAST = (
    "import runpy, sys; sys.argv = ['supervise', *sys.argv[1:]]; "
    f"m = runpy.run_path({supervise.__file__!r}); "
    "m['main'].__globals__['GRACE_S'] = 0.3; sys.exit(m['main'](sys.argv[1:]))"
)
"""The script as the server starts it, but less patient."""
SLEEP = "import time; time.sleep(60)"
WITH_GRANDCHILD = (
    "import subprocess, sys; "
    f"p = subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); "
    "open(sys.argv[1], 'w').write(f'{p.pid}\\n'); "
)
DEAF = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); "


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def start(
    processes: list[subprocess.Popen[bytes]], code: str, *arguments: str
) -> subprocess.Popen[bytes]:
    """A supervisor, in a session of its own, around a Python program."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", FAST, sys.executable, "-I", "-c", code, *arguments],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    processes.append(process)
    return process


def pid_in(path: Path) -> int:
    """The number that the program writes once it runs."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if path.exists() and path.read_text().endswith("\n"):
            return int(path.read_text())
        time.sleep(0.02)
    raise AssertionError("the program did not start")


def is_gone(pid: int) -> bool:
    """Whether the process ends within seconds (an orphan may wait as a zombie for init)."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.02)
    return False


def close(process: subprocess.Popen[bytes]) -> None:
    """What the kernel does when the parent goes away, however it ends."""
    assert process.stdin is not None
    process.stdin.close()


def test_the_exit_status_is_that_of_the_command(
    started: list[subprocess.Popen[bytes]],
) -> None:
    assert start(started, "raise SystemExit(7)").wait(60) == 7
    assert start(started, "").wait(60) == 0


def test_children_of_a_command_that_has_ended_end_too(
    started: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    process = start(started, WITH_GRANDCHILD, str(tmp_path / "pid"))
    assert process.wait(60) == 0
    assert is_gone(pid_in(tmp_path / "pid"))


def test_all_end_when_the_parent_goes_away(
    started: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    process = start(started, WITH_GRANDCHILD + SLEEP, str(tmp_path / "pid"))
    grandchild = pid_in(tmp_path / "pid")
    assert process.poll() is None
    close(process)
    assert process.wait(60) != 0
    assert is_gone(grandchild)


ORDERLY = """
import signal, sys, time
told = []
signal.signal(signal.SIGINT, lambda *_: told.append(1))
open(sys.argv[1], "a").write("ready\\n")
while not told:
    time.sleep(0.01)
time.sleep(0.15)
open(sys.argv[1], "a").write(f"told {len(told)} times\\n")
"""
"""Takes a moment to end, and writes how often it was asked to."""


HANDS_ON = f"""
import signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {ORDERLY!r}, sys.argv[1]])
signal.signal(signal.SIGINT, lambda *_: child.send_signal(signal.SIGINT))
sys.exit(child.wait())
"""
"""What MLflow's command does with its web server."""


def test_a_command_that_hands_the_signal_on_ends_in_order(
    started: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    process = start(started, HANDS_ON, str(log))
    deadline = time.monotonic() + 60
    while not log.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    close(process)
    assert process.wait(60) == 0
    assert log.read_text().splitlines() == ["ready", "told 1 times"]


def test_a_child_of_the_command_that_ignores_the_signal_is_killed(
    started: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    deaf = DEAF + f"import os, sys; open(sys.argv[1], 'w').write(f'{{os.getpid()}}\\n'); {SLEEP}"
    code = (
        "import os, subprocess, sys, time; "
        f"subprocess.Popen([sys.executable, '-c', {deaf!r}, sys.argv[1]])\n"
        "while not os.path.exists(sys.argv[1]): time.sleep(0.02)"
    )
    process = start(started, code, str(tmp_path / "pid"))
    assert is_gone(pid_in(tmp_path / "pid"))
    assert process.wait(30) == -signal.SIGKILL


def test_a_command_that_ignores_the_signal_is_killed(
    started: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    process = start(started, DEAF + WITH_GRANDCHILD + SLEEP, str(tmp_path / "pid"))
    grandchild = pid_in(tmp_path / "pid")
    close(process)
    assert process.wait(30) == -signal.SIGKILL  # the group, and the supervisor in it
    assert is_gone(grandchild)


def test_a_stop_of_everything_below_a_job_leaves_the_command_to_its_parent(
    started: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    process = start(started, WITH_GRANDCHILD + SLEEP, str(tmp_path / "pid"))
    grandchild = pid_in(tmp_path / "pid")
    os.killpg(process.pid, signal.SIGTERM)
    time.sleep(0.5)
    assert process.poll() is None
    os.kill(grandchild, 0)  # still there
    close(process)
    assert process.wait(60) != 0
    assert is_gone(grandchild)


def test_the_command_reads_nothing_of_the_parents_pipe(
    started: list[subprocess.Popen[bytes]],
) -> None:
    code = "import sys; raise SystemExit(len(sys.stdin.read()))"
    assert start(started, code).wait(60) == 0

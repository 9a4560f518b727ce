"""Run a command, and end its process group when the parent goes away; a script of `server_process`.

The parent holds the other end of our standard input; however it ends, the pipe closes. Nothing else
ends the command: Ray stops a job by SIGTERM to every process below it, and the runs' last words
are delivered after that. So SIGTERM is blocked here and below, and the command ends by SIGINT.
"""

import glob
import os
import signal
import subprocess
import sys
import threading
import time

GRACE_S = 5.0
POLL_S = 0.05
STDIN = 0
BLOCK = 4096


def main(command: list[str]) -> int:
    """Run `command` until it ends by itself or standard input closes; its exit status is ours.

    Args:
        command: Program and arguments.

    Returns:
        The exit status.
    """
    # Our own share of the group's SIGINT: outlive the child, to reap it.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # Ray blocks it in its processes
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=_end_with_parent, args=(child,), daemon=True).start()
    status = child.wait()
    os.killpg(os.getpgrp(), signal.SIGINT)  # what it has left behind
    _end_others()
    return status


def _end_others() -> None:
    """Wait until the child's children have ended, and do not wait for ever."""
    deadline = time.monotonic() + GRACE_S
    while _has_others():
        if time.monotonic() > deadline:
            os.killpg(os.getpgrp(), signal.SIGKILL)
        time.sleep(POLL_S)


def _has_others() -> bool:
    """Whether somebody else lives in our process group; where there is no /proc, nobody waits."""
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                state, _, group = file.read().rpartition(")")[2].split()[:3]
        except OSError:  # gone meanwhile
            continue
        if int(group) == os.getpgrp() and state != "Z" and path != f"/proc/{os.getpid()}/stat":
            return True
    return False


def _end_with_parent(child: "subprocess.Popen[bytes]") -> None:
    # Not sys.stdin: a thread that still holds its lock aborts the interpreter at exit.
    while os.read(STDIN, BLOCK):
        pass
    # Not the group: MLflow hands it on, and whoever gets two ends without putting things in order.
    child.send_signal(signal.SIGINT)
    try:
        child.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

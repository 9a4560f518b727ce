"""Run a command, and end its process group when the parent goes away; a script of `server`.

The parent holds the other end of our standard input; however it ends, the pipe closes. Nothing else
ends the command: Ray stops a job by SIGTERM to every process below it, and the runs' last words
are delivered after that. So SIGTERM is blocked here and below, and the group ends by SIGINT.
"""

import os
import signal
import subprocess
import sys
import threading

GRACE_S = 5.0
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
    os.killpg(os.getpgrp(), signal.SIGINT)  # the child's own children
    return status


def _end_with_parent(child: "subprocess.Popen[bytes]") -> None:
    # Not sys.stdin: a thread that still holds its lock aborts the interpreter at exit.
    while os.read(STDIN, BLOCK):
        pass
    os.killpg(os.getpgrp(), signal.SIGINT)
    try:
        child.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Run a command, and end its process group when the parent goes away; a script of `server`.

The parent holds the other end of our standard input; however it ends, the pipe closes.
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
    # Our own share of the group's SIGTERM: outlive the child, to reap it.
    signal.signal(signal.SIGTERM, lambda *_: None)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=_end_with_parent, args=(child,), daemon=True).start()
    status = child.wait()
    os.killpg(os.getpgrp(), signal.SIGTERM)  # the child's own children
    return status


def _end_with_parent(child: "subprocess.Popen[bytes]") -> None:
    # Not sys.stdin: a thread that still holds its lock aborts the interpreter at exit.
    while os.read(STDIN, BLOCK):
        pass
    os.killpg(os.getpgrp(), signal.SIGTERM)
    try:
        child.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

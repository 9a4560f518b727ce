"""A process that ends before any one of its operations on files, to see what it leaves behind."""

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

FINISHED, KILLED, BROKEN = 0, 97, 98
CHANGES = {
    "os.link",
    "os.mkdir",
    "os.remove",
    "os.rename",  # os.replace too
    "os.rmdir",
    "os.symlink",
    "os.truncate",
    "shutil.copyfile",
}
"""Events of Python's audit hooks. What Rust or C write shows at the fsync that follows."""
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Operations:
    """Counts the operations of this process, and ends it at one of them.

    Args:
        last: Which one it does not live to do, counted from 1; 0: none.
        log: Gets a line per operation.
    """

    def __init__(self, last: int, log: Path) -> None:
        self.last = last
        self.count = 0
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def watch(self) -> None:
        """From now on; a process cannot stop being watched."""
        fsync = os.fsync

        def watched(fd: Any) -> None:
            self.reach("fsync")
            number = fd if isinstance(fd, int) else fd.fileno()
            path = Path(f"/proc/self/fd/{number}").resolve()
            if path.is_file():
                self.reach(f"half of {path.name}", half=path)
            fsync(fd)

        os.fsync = watched
        sys.addaudithook(self._see)

    def reach(self, name: str, half: Path | None = None) -> None:
        """One more operation is about to be done."""
        self.count += 1
        os.write(self.log, f"{name}\n".encode())
        if self.count == self.last:
            if half is not None:  # what a power cut or a kill in the middle of a write leaves
                descriptor = os.open(half, os.O_RDWR)
                os.ftruncate(descriptor, os.stat(descriptor).st_size // 2)
            os._exit(KILLED)

    def _see(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.count >= self.last > 0:
            return  # the half that we cut off ourselves
        if event in CHANGES:
            self.reach(event)
        elif event == "open" and arguments[2] & WRITES:
            self.reach("open")


def run_killed_at(last: int, log: Path, work: Callable[[], object]) -> int:
    """Do `work` in a copy of this process that ends before its operation `last`.

    Args:
        last: Counted from 1; 0: it may finish.
        log: Gets the names of the operations, one a line.
        work: What to do.

    Returns:
        `FINISHED`, `KILLED` or `BROKEN`.
    """
    log.unlink(missing_ok=True)
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        Operations(last, log).watch()
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(BROKEN)
    os._exit(FINISHED)

"""One driver per sweep, one training per trial: locks that the kernel takes back from the dead."""

import errno
import fcntl
import json
import logging
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from apt_core.errors import AptError, UserError
from apt_core.files import tell_refusals

logger = logging.getLogger(__name__)

LOCK_FILE = ".lock"
TRAINING_LOCK_FILE = ".training"
PREDECESSOR_TIMEOUT_S = 120.0
"""How long a training waits for an earlier one, whose driver or controller is dead, to end too."""
POLL_S = 0.2
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}
"""What a file system without locks answers."""


@contextmanager
def only_driver(folder: Path, *, shared: bool = False) -> Iterator[None]:
    """Inside the block, nobody else runs what is in `folder`: trials would be trained twice.

    Args:
        folder: Of a sweep or of a trial; made if it is missing.
        shared: Others that share it too are let in. For the folder around what one holds alone.

    Yields:
        None: Once the lock is held.

    Raises:
        UserError: If somebody else is at it; says who.
        StorageError: If the folder's storage is full or read-only.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_FILE).open("a+", encoding="utf-8") as file:
        if not _take(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX):
            raise UserError(
                f"{folder}: {_holder(file)} runs it already; watch it (aptune status {folder}), or "
                "end it first (aptune stop, or Ctrl-C where it was started)"
            )
        _sign(file)
        yield


@contextmanager
def only_training(run_dir: Path, *, timeout_s: float = PREDECESSOR_TIMEOUT_S) -> Iterator[None]:
    """Inside the block, no other process trains the trial: two would write each other's files.

    A driver, a controller or a node that is killed leaves its workers behind for some seconds. Who
    takes over waits for their end instead of training beside them.

    Args:
        run_dir: The trial's folder.
        timeout_s: When to give up.

    Yields:
        None: Once the predecessor is gone.

    Raises:
        AptError: If it is still there when the time is up; says who.
    """
    deadline = time.monotonic() + timeout_s
    with (run_dir / TRAINING_LOCK_FILE).open("a+", encoding="utf-8") as file:
        while not _take(file, fcntl.LOCK_EX):
            if time.monotonic() >= deadline:
                raise AptError(
                    f"{run_dir}: {_holder(file)} still trains it after {timeout_s:.0f} s, though "
                    "its driver is gone; end that process"
                )
            time.sleep(POLL_S)
        _sign(file)
        yield


def _take(file: TextIO, kind: int) -> bool:
    """Whether the lock is ours now, as far as this file system knows locks."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        logger.warning("%s: this file system has no locks; do not start it twice", file.name)
    return True


def _sign(file: TextIO) -> None:
    owner = json.dumps({"pid": os.getpid(), "host": platform.node()}) + "\n"
    with tell_refusals(Path(file.name)):
        # Past the buffer: closing it would try, and fail, once more on a full disk.
        os.ftruncate(file.fileno(), 0)
        os.write(file.fileno(), owner.encode())


def _holder(file: TextIO) -> str:
    """Who holds the lock, as far as the file tells."""
    file.seek(0)
    try:
        owner = json.loads(file.read())
        return f"process {owner['pid']} on {owner['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"

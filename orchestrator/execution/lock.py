"""One driver per sweep: a lock in its folder, which the kernel takes back when the driver dies."""

import errno
import fcntl
import json
import logging
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from apt_core.errors import UserError

logger = logging.getLogger(__name__)

LOCK_FILE = ".lock"
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
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_FILE).open("a+", encoding="utf-8") as file:
        _take(file, folder, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "host": platform.node()}) + "\n")
        file.flush()
        yield


def _take(file: TextIO, folder: Path, kind: int) -> None:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UserError(
            f"{folder}: {_holder(file)} runs it already; watch it (aptune status {folder}), or end "
            "it first (aptune stop, or Ctrl-C where it was started)"
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        logger.warning("%s: this file system has no locks; do not start it twice", folder)


def _holder(file: TextIO) -> str:
    """Who holds the lock, as far as the file tells."""
    file.seek(0)
    try:
        owner = json.loads(file.read())
        return f"process {owner['pid']} on {owner['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"

"""Files that appear whole or not at all, and what a full or read-only storage makes of them."""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from apt_core.errors import AptError, StorageError

_REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}
"""Full, over the quota, read-only, larger than allowed: nothing but writing ends like this."""
_FROM_RUST = re.compile(r"\(os error (\d+)\)|Os \{ code: (\d+)")
"""How safetensors and tokenizers, which are written in Rust, tell a system's error."""


def write_json(path: Path, data: Mapping[str, Any], *, is_durable: bool = False) -> None:
    """Write JSON so that a reader sees the old file or the new one, never a torn one.

    Args:
        path: The file; its folder is made if there is none.
        data: What it holds.
        is_durable: Wait until the disk has it, so that it survives the loss of power too.

    Raises:
        StorageError: The storage does not take it; the old file is whole.
    """
    text = json.dumps(data, indent=2) + "\n"
    with tell_refusals(path, any_error=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, text.encode(), is_durable=is_durable)


def replace_file(path: Path, content: bytes, *, is_durable: bool = False) -> None:
    """Give a file new content in one step; if that fails, nothing is left behind.

    Args:
        path: The file; processes may replace it at the same time.
        content: What it holds.
        is_durable: See `write_json`.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            if is_durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sha256_of(path: Path) -> str:
    """The digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def link_or_copy(source: Path, target: Path) -> None:
    """A second name for a file that is never written in place; a copy where links are unknown."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
        with target.open("rb") as file:
            os.fsync(file.fileno())


@contextmanager
def tell_refusals(path: Path, *, any_error: bool = False) -> Iterator[None]:
    """Inside the block, a storage that takes no more becomes an error that says what to do.

    Args:
        path: What is written, or a folder around it.
        any_error: Every error of the system counts, for blocks that do nothing but write.

    Yields:
        None: Once.

    Raises:
        StorageError: In place of what the system, or a library of Rust, raised.
    """
    try:
        yield
    except AptError:
        raise
    except Exception as error:
        if is_refusal(error) or (any_error and isinstance(error, OSError)):
            where = path if any_error else named_in(error) or path
            raise StorageError(refusal_text(error, where)) from error
        raise


def is_refusal(error: BaseException) -> bool:
    """Whether the storage was full, read-only or over a limit."""
    if isinstance(error, OSError):
        return error.errno in _REFUSALS
    found = _FROM_RUST.search(str(error))
    return found is not None and int(found[1] or found[2]) in _REFUSALS


def named_in(error: BaseException) -> Path | None:
    """The file that an error of the system names, if it does."""
    name = getattr(error, "filename", None)
    return Path(name) if isinstance(name, str | Path) else None


def refusal_text(error: BaseException, where: Path | None) -> str:
    """Where, what, how much is free, and what to do, in one line.

    Args:
        error: What was raised.
        where: What was written; None: nobody knows.

    Returns:
        The line.
    """
    what = getattr(error, "strerror", None) or str(error)
    free = "" if where is None else f" ({free_text(where)})"
    return (
        f"{where or 'a file'}: cannot be written: {what}{free}; free space or make it writable: "
        "what was written before is whole, and the same command continues from it"
    )


def free_text(path: Path) -> str:
    """What is left on the storage of a path that may not exist yet, e.g. ``0.3 MiB free``."""
    path = path.absolute()
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    free = f"{shutil.disk_usage(there).free / 2**20:.1f} MiB free"
    counts = os.statvfs(there)
    if counts.f_files and not counts.f_favail:
        free += ", but no more files are allowed"
    return free

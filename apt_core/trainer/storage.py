"""Files of checkpoints: hashed, linked, and what a full or read-only disk makes of them."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from apt_core.errors import CheckpointError


@contextmanager
def refusals_told(folder: Path, step: int) -> Iterator[None]:
    """Inside the block, what the storage refuses becomes an error that says what to do.

    Args:
        folder: Where checkpoints live.
        step: Whose checkpoint is written.

    Yields:
        None: Once.

    Raises:
        CheckpointError: In place of what the system or safetensors raised.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:  # safetensors wraps the system's errors in its own
        raise CheckpointError(
            f"{folder}: step {step} cannot be written: {error}; free space or make it writable: "
            "the earlier checkpoint is whole, and the same command continues from it"
        ) from error


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

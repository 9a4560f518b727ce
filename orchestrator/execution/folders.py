"""Numbered folders: a fresh one for every launch and every attempt."""

from contextlib import suppress
from pathlib import Path


def new_numbered_dir(parent: Path) -> Path:
    """Create the next free numbered folder: Ray silently resumes what lies in an old one."""
    parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        with suppress(FileExistsError):
            folder = parent / f"{number:03d}"
            folder.mkdir()
            return folder
        number += 1

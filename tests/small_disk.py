"""Storage that is full when a test says so: really, or as nearly as this machine allows."""

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

KINDS = ("full file system", "limit for files")
SIZE_MIB = 8
HALF_A_LINE = 20


class SmallDisk:
    """A folder whose storage can be filled and freed.

    Args:
        folder: On a file system of its own, or anywhere.
        is_own: Which of the two: a file system that is filled, or a limit for each file.
    """

    def __init__(self, folder: Path, *, is_own: bool) -> None:
        self.folder = folder
        self.is_own = is_own
        self._ballast = folder / "ballast"
        self._limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    @property
    def told(self) -> str:
        """The words of the system when it refuses."""
        return "No space left on device" if self.is_own else "File too large"

    def fill(self, growing: Path | None = None) -> None:
        """Let nothing be written any more.

        Args:
            growing: A file that takes a few bytes yet before it is refused: half a line.
        """
        if not self.is_own:
            limit = 0 if growing is None else growing.stat().st_size + HALF_A_LINE
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, self._limits[1]))
            return
        # The last page of every file takes some more anyway.
        free = os.statvfs(self.folder)
        with self._ballast.open("wb") as file:
            file.write(b"0" * free.f_bavail * free.f_frsize)

    def free(self) -> None:
        """Give the room back."""
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)
        self._ballast.unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path, kind: str | None = None) -> Iterator[SmallDisk]:
    """A `SmallDisk` of one of the `KINDS`, or of the best of them that this machine has.

    A file system is mounted, which takes rights; a test that insists on it is skipped without.
    """
    folder.mkdir()
    problem = mount(folder) if kind != KINDS[1] else "not asked for"
    is_own = not problem
    if problem and kind == KINDS[0]:
        pytest.skip(f"a file system of a few MiB cannot be mounted here: {problem}")
    disk = SmallDisk(folder, is_own=is_own)
    try:
        yield disk
    finally:
        if is_own:
            subprocess.run(["umount", "--lazy", folder], check=True)
        disk.free()


def mount(folder: Path) -> str:
    """Put a file system of a few MiB there, in memory; what went wrong, or nothing."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error)
    return done.stderr.strip() if done.returncode else ""


def make_read_only(folder: Path, *, is_read_only: bool) -> None:
    """Change a mounted file system of ours."""
    mode = "ro" if is_read_only else "rw"
    subprocess.run(["mount", "-o", f"remount,{mode}", folder], check=True)

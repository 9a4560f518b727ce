"""A storage for tests that fails where it is told to, in the middle of what it does."""

from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

OPERATIONS = ("pipe_file", "put_file", "rm_file", "cat_file", "get_file", "ls", "makedirs")
WRITING = ("pipe_file", "put_file")


class StorageGoneError(OSError):
    """What a client of a storage raises when the network is gone."""


class UnsteadyStorage(LocalFileSystem):
    """Local files; the operation number `fails_at` is done by half and raises, as all after it."""

    cachable = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.fails_at: int | None = None
        self.done: list[str] = []

    def begin(self, fails_at: int | None = None) -> None:
        self.fails_at = fails_at
        self.done = []

    def _step(self, name: str, target: str | None = None, content: bytes = b"") -> None:
        self.done.append(name)
        if self.fails_at is None or len(self.done) <= self.fails_at:
            return
        if len(self.done) == self.fails_at + 1 and target is not None:
            Path(target).write_bytes(content[: len(content) // 2])
        raise StorageGoneError("the network is gone")

    def pipe_file(self, path: str, value: bytes, **options: Any) -> None:
        self._step("pipe_file", path, value)
        super().pipe_file(path, value, **options)

    def put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        self._step("put_file", rpath, Path(lpath).read_bytes())
        super().put_file(lpath, rpath, **options)

    def rm_file(self, path: str) -> None:
        self._step("rm_file")
        super().rm_file(path)

    def cat_file(self, path: str, **options: Any) -> bytes:
        self._step("cat_file")
        return bytes(super().cat_file(path, **options))

    def get_file(self, rpath: str, lpath: str, **options: Any) -> None:
        self._step("get_file")
        super().get_file(rpath, lpath, **options)

    def ls(self, path: str, **options: Any) -> list[Any]:
        self._step("ls")
        return list(super().ls(path, **options))

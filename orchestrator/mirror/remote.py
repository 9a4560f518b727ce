"""A folder's copy on any storage of fsspec: files by their hash, and an index, written last.

Object stores know no rename of folders, and not every storage replaces a file in one step. So no
object is ever changed: files are called by their hash, every index has a number of its own, and the
older index goes when the newer one is there. Whoever reads finds the copy before or after, whole.
"""

import json
import re
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from apt_core.errors import AptError
from apt_core.files import link_or_copy, sha256_of

FORMAT = 1
OBJECTS = "objects"
_BUCKETS = {
    "s3",
    "s3a",
    "gs",
    "gcs",
    "abfs",
    "abfss",
    "az",
    "adl",
    "oss",
    "oci",
    "cos",
    "obs",
    "tos",
}
"""Protocols of object stores: they have no folders, and to make one would make a bucket."""
_INDEX = re.compile(r"index-\d{9}\.json")


class MirrorError(AptError):
    """The copy is not what its index says."""


@dataclass(frozen=True)
class StoredFile:
    """A file of the copy."""

    sha256: str
    size: int
    """In bytes."""


Index = Mapping[str, StoredFile]
"""By relative path, e.g. ``checkpoints/step-00000020/manifest.json``."""


@dataclass(frozen=True)
class Copy:
    """What a storage holds of a folder."""

    files: Index
    """Empty: there is no copy."""
    stamp: str = ""
    """What the pusher called this state of the folder."""
    index: str = ""
    """The name of the index it was read from."""


class RemoteFolder:
    """The copy of one folder.

    Args:
        filesystem: Of fsspec; must not remember listings.
        path: The copy's place in it.
    """

    def __init__(self, filesystem: Any, path: str) -> None:
        self._filesystem = filesystem
        self._path = path.rstrip("/")

    def newest(self) -> Copy:
        """The newest whole copy; an index that is torn is passed over."""
        for name in sorted(self._list("", _INDEX), reverse=True):
            with suppress(FileNotFoundError, ValueError, TypeError, KeyError):
                content = json.loads(self._filesystem.cat_file(self._at(name)))
                if content["format"] == FORMAT:
                    files = {n: StoredFile(**file) for n, file in content["files"].items()}
                    return Copy(_checked(files), content.get("stamp", ""), name)
        return Copy({})

    def push(self, files: Mapping[str, Path], stamp: str = "") -> int:
        """Make the copy hold exactly these files; what is there already is not sent again.

        Args:
            files: By their names in the copy; they must not change meanwhile.
            stamp: A name for this state of the folder, kept with the copy.

        Returns:
            How many bytes were sent.

        Raises:
            OSError: The storage refuses; the copy is the one before.
        """
        wanted = {name: _stored(path) for name, path in files.items()}
        known = self.newest()
        index, sent = known.index, 0
        if (wanted, stamp) != (known.files, known.stamp):
            sent = self._send_objects(files, wanted)
            index = self._next_index()
            entries = {name: asdict(file) for name, file in wanted.items()}
            content = {"format": FORMAT, "stamp": stamp, "files": entries}
            self._filesystem.pipe_file(self._at(index), json.dumps(content).encode())
        self._drop_all_but(index, {file.sha256 for file in wanted.values()})
        return sent

    def pull(self, target: Path) -> None:
        """Put the newest whole copy in a folder's place.

        Args:
            target: The folder; what it held is gone afterwards, except for its hidden files, which
                are no part of a copy: among them is the lock that keeps a second driver out.

        Raises:
            MirrorError: There is no copy, or it is damaged; the folder is as it was.
            OSError: Storage there or here refuses; likewise.
        """
        index = self.newest().files
        if not index:
            raise MirrorError(f"{self._path}: there is no copy")
        partial = target.with_name(f".{target.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            for name, file in index.items():
                self._fetch(name, file, partial)
            for path in target.glob(".*"):
                if path.is_file():
                    link_or_copy(path, partial / path.name)
            shutil.rmtree(target, ignore_errors=True)
            partial.replace(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _next_index(self) -> str:
        newest = max(self._list("", _INDEX), default="index-000000000.json")
        return f"index-{int(newest[len('index-') : -len('.json')]) + 1:09d}.json"

    def _send_objects(self, files: Mapping[str, Path], wanted: Index) -> int:
        sizes = self._list(OBJECTS, re.compile("[0-9a-f]{64}"))
        make_folder(self._filesystem, self._at(OBJECTS))
        sent = 0
        for name, file in wanted.items():
            # Where a file is there in part, its name is right and its size is not.
            if sizes.get(file.sha256) != file.size:
                self._filesystem.put_file(str(files[name]), self._object(file))
                sizes[file.sha256] = file.size
                sent += file.size
        return sent

    def _fetch(self, name: str, file: StoredFile, folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._filesystem.get_file(self._object(file), str(path))
        except FileNotFoundError as error:
            raise MirrorError(f"{self._path}: {name} is missing") from error
        if _stored(path) != file:
            raise MirrorError(f"{self._path}: {name} is damaged")

    def _drop_all_but(self, index: str, hashes: Iterable[str]) -> None:
        kept = set(hashes)
        for name in self._list("", _INDEX):
            if name != index:
                self._filesystem.rm_file(self._at(name))
        for name in self._list(OBJECTS, re.compile(".+")):
            if name not in kept:
                self._filesystem.rm_file(self._at(f"{OBJECTS}/{name}"))

    def _list(self, folder: str, names: re.Pattern[str]) -> dict[str, int]:
        """Files of a folder of the copy, with their sizes; none where the folder is missing."""
        try:
            entries = self._filesystem.ls(self._at(folder), detail=True)
        except FileNotFoundError:
            return {}
        sizes = {PurePosixPath(entry["name"]).name: entry["size"] for entry in entries}
        return {name: size for name, size in sizes.items() if names.fullmatch(name)}

    def _object(self, file: StoredFile) -> str:
        return self._at(f"{OBJECTS}/{file.sha256}")

    def _at(self, name: str) -> str:
        return f"{self._path}/{name}".rstrip("/")


def make_folder(filesystem: Any, path: str) -> None:
    """Make a folder where the storage has folders; a bucket that is missing stays missing.

    Args:
        filesystem: Of fsspec.
        path: The folder.
    """
    names = filesystem.protocol
    if not _BUCKETS.intersection((names,) if isinstance(names, str) else names):
        filesystem.makedirs(path, exist_ok=True)


def _stored(path: Path) -> StoredFile:
    return StoredFile(sha256_of(path), path.stat().st_size)


def _checked(files: Index) -> Index:
    """The same index; whoever can write to the storage must not choose where we write."""
    for name, file in files.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise MirrorError(f"{name}: not a name inside the folder")
        if not re.fullmatch("[0-9a-f]{64}", file.sha256):
            raise MirrorError(f"{name}: {file.sha256!r} is not a hash")
    return files

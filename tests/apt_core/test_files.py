import errno
import hashlib
import json
import os

import pytest
from safetensors import SafetensorError

from apt_core.errors import DataError, StorageError
from apt_core.files import (
    free_text,
    is_refusal,
    link_or_copy,
    refusal_text,
    sha256_of,
    tell_refusals,
    write_json,
)
from tests.small_disk import KINDS, make_read_only, small_disk

TOLD = r"a\.json: cannot be written: {} \(\d+\.\d MiB free\); free space .* same command continues"


@pytest.fixture(params=KINDS)
def disk(request, tmp_path):
    with small_disk(tmp_path / "disk", request.param) as disk:
        yield disk


def test_a_full_disk_leaves_the_old_file_and_nothing_else(disk):
    path = disk.folder / "a.json"
    write_json(path, {"version": 1})
    disk.fill()
    with pytest.raises(StorageError, match=TOLD.format(disk.told)) as raised:
        write_json(path, {"version": "2" * 10_000}, is_durable=True)
    assert str(raised.value).startswith(str(disk.folder))
    assert json.loads(path.read_text()) == {"version": 1}
    disk.free()
    assert [p.name for p in disk.folder.iterdir()] == ["a.json"]
    write_json(path, {"version": 2})
    assert json.loads(path.read_text()) == {"version": 2}


def test_read_only_storage_is_told_alike_and_read_on(tmp_path):
    with small_disk(tmp_path / "disk", KINDS[0]) as disk:
        write_json(disk.folder / "a.json", {"version": 1})
        make_read_only(disk.folder, is_read_only=True)
        with pytest.raises(StorageError, match=TOLD.format("Read-only file system")):
            write_json(disk.folder / "a.json", {"version": 2})
        assert json.loads((disk.folder / "a.json").read_text()) == {"version": 1}
        with pytest.raises(StorageError, match="Read-only file system"):
            write_json(disk.folder / "new" / "a.json", {})
        make_read_only(disk.folder, is_read_only=False)
        assert [p.name for p in disk.folder.iterdir()] == ["a.json"]


def test_what_cannot_be_json_leaves_the_old_file(tmp_path):
    path = tmp_path / "new" / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EROFS, "Read-only file system", "/there/b"),
        SafetensorError("Error while serializing: I/O error: No space left (os error 28)"),
        SafetensorError('IoError(Os { code: 28, kind: StorageFull, message: "No space left" })'),
    ],
    ids=["full", "read-only", "safetensors", "older safetensors"],
)
def test_refusals_are_known_whoever_tells_them(tmp_path, error):
    assert is_refusal(error)
    with pytest.raises(StorageError, match="cannot be written") as raised, tell_refusals(tmp_path):
        raise error
    assert raised.value.__cause__ is error
    assert str(raised.value).startswith(getattr(error, "filename", None) or str(tmp_path))


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file"),
        PermissionError(errno.EACCES, "Permission denied"),
        SafetensorError("invalid header (os error 2)"),
        DataError("row 28 is empty"),
        ZeroDivisionError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_other_errors_stay_what_they_are(tmp_path, error):
    assert not is_refusal(error)
    with pytest.raises(type(error)) as raised, tell_refusals(tmp_path):
        raise error
    assert raised.value is error


def test_a_block_that_only_writes_tells_a_missing_permission_too(tmp_path):
    with (
        pytest.raises(StorageError, match=r"Permission denied.*make it writable"),
        tell_refusals(tmp_path, any_error=True),
    ):
        raise PermissionError(errno.EACCES, "Permission denied")


def test_without_a_path_the_text_names_none():
    assert refusal_text(OSError(errno.ENOSPC, "full"), None).startswith(
        "a file: cannot be written: full;"
    )


def test_free_space_is_told_of_what_is_not_there_yet(tmp_path, monkeypatch):
    assert free_text(tmp_path / "not" / "here").endswith("MiB free")
    real = os.statvfs

    class NoMoreFiles:
        f_files, f_favail = 100, 0

    monkeypatch.setattr("apt_core.files.os.statvfs", lambda path: NoMoreFiles)
    monkeypatch.setattr("apt_core.files.shutil.disk_usage", lambda path: UsageOf(real(path)))
    assert free_text(tmp_path).endswith("but no more files are allowed")


class UsageOf:
    def __init__(self, counts):
        self.free = counts.f_bavail * counts.f_frsize


def test_a_file_has_a_digest_and_a_second_name(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"abc")
    link_or_copy(first, second)
    assert first.samefile(second)
    assert sha256_of(second) == hashlib.sha256(b"abc").hexdigest()

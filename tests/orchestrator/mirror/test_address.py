"""Addresses of storages: used, or refused with the reason before anything starts."""

from pathlib import Path

import fsspec
import pytest

from apt_core.errors import ConfigError
from orchestrator.mirror.address import check_mirror, remote_folders


def test_a_storage_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    check_mirror(f"file://{tmp_path}/copies")
    assert list((tmp_path / "copies").iterdir()) == []


def test_every_trial_has_its_own_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    place = remote_folders(f"file://{tmp_path}/copies/", "grid")
    place("c0ffee").push({"file": tmp_path / "file"})
    assert [path.name for path in (tmp_path / "copies" / "grid").iterdir()] == ["c0ffee"]
    assert place("decaf").newest().files == {}


def test_any_storage_of_fsspec_will_do(tmp_path: Path) -> None:
    check_mirror("memory://copies")
    (tmp_path / "file").write_text("x")
    place = remote_folders("memory://copies", "grid")
    place("c0ffee").push({"sub/file": tmp_path / "file"})
    place("c0ffee").pull(tmp_path / "back")
    assert (tmp_path / "back" / "sub" / "file").read_text() == "x"
    fsspec.filesystem("memory").rm("/copies", recursive=True)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("s3x://bucket", "Protocol not known: s3x"),
        ("s3://user:secret@bucket/x", "a user's name or a password"),
        ("file:///proc/copies", "cannot be used"),
        ("http://127.0.0.1:9/x", "cannot be used"),
    ],
)
def test_what_cannot_be_written_is_refused(address: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as raised:
        check_mirror(address)
    assert str(raised.value).startswith("orchestration.mirror: ")
    assert "secret" not in str(raised.value)


def test_a_storage_that_gives_back_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.mirror.address._PROBE", bytearray(b"aptune"))
    check_mirror(f"file://{tmp_path}")
    from fsspec.implementations.local import LocalFileSystem

    monkeypatch.setattr(LocalFileSystem, "cat_file", lambda *_, **__: b"else")
    with pytest.raises(ConfigError, match="gives back something else"):
        check_mirror(f"file://{tmp_path}")

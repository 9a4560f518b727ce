"""A copy is always the one before or the one after, whatever happens in between."""

import json
from pathlib import Path

import pytest

from orchestrator.mirror.remote import Copy, MirrorError, RemoteFolder, make_folder
from tests.orchestrator.mirror.storages import StorageGoneError, UnsteadyStorage

BEFORE = {"a.json": b"old", "checkpoints/step-1/w": b"w" * 1000, "checkpoints/step-1/x": b"x"}
AFTER = {"a.json": b"newer", "checkpoints/step-1/w": b"w" * 1000, "checkpoints/step-2/w": b"v" * 99}


def lay(folder: Path, files: dict[str, bytes]) -> dict[str, Path]:
    """Files in a folder, by their names."""
    paths = {name: folder / name for name in files}
    for name, path in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(files[name])
    return paths


def content(folder: Path) -> dict[str, bytes]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.fixture
def storage() -> UnsteadyStorage:
    return UnsteadyStorage()


@pytest.fixture
def remote(storage: UnsteadyStorage, tmp_path: Path) -> RemoteFolder:
    return RemoteFolder(storage, str(tmp_path / "remote" / "run"))


def pulled(remote: RemoteFolder, target: Path) -> dict[str, bytes]:
    remote.pull(target)
    return content(target)


def test_what_is_pushed_comes_back(remote: RemoteFolder, tmp_path: Path) -> None:
    assert remote.newest() == Copy({})
    sent = remote.push(lay(tmp_path / "before", BEFORE))
    assert sent == sum(map(len, BEFORE.values()))
    assert pulled(remote, tmp_path / "back") == BEFORE


def test_only_what_is_new_is_sent_and_what_is_old_goes(
    remote: RemoteFolder, tmp_path: Path
) -> None:
    remote.push(lay(tmp_path / "before", BEFORE))
    after = lay(tmp_path / "after", AFTER)
    assert remote.push(after) == len(b"newer") + 99
    assert remote.push(after) == 0
    assert pulled(remote, tmp_path / "back") == AFTER
    kept = content(tmp_path / "remote" / "run")
    assert len([name for name in kept if name.startswith("objects/")]) == len(set(AFTER.values()))
    assert len([name for name in kept if name.startswith("index-")]) == 1


def test_pull_replaces_all_that_was_there(remote: RemoteFolder, tmp_path: Path) -> None:
    remote.push(lay(tmp_path / "before", BEFORE))
    lay(tmp_path / "back", {"a.json": b"?", "other/thing": b"?"})
    assert pulled(remote, tmp_path / "back") == BEFORE
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_new_stamp_sends_nothing_but_itself(remote: RemoteFolder, tmp_path: Path) -> None:
    files = lay(tmp_path / "before", BEFORE)
    remote.push(files, "first")
    known = remote.newest()
    assert remote.push(files, "second") == 0
    assert (remote.newest().stamp, remote.newest().files) == ("second", known.files)


def test_hidden_files_outlive_a_pull(remote: RemoteFolder, tmp_path: Path) -> None:
    remote.push(lay(tmp_path / "before", BEFORE))
    lay(tmp_path / "back", {".lock": b"mine", "a.json": b"?", ".stage/a.json": b"?"})
    lock = (tmp_path / "back" / ".lock").stat().st_ino
    assert pulled(remote, tmp_path / "back") == {**BEFORE, ".lock": b"mine"}
    assert (tmp_path / "back" / ".lock").stat().st_ino == lock


def test_a_push_that_breaks_off_anywhere_leaves_one_copy_whole(
    remote: RemoteFolder, storage: UnsteadyStorage, tmp_path: Path
) -> None:
    before, after = lay(tmp_path / "before", BEFORE), lay(tmp_path / "after", AFTER)
    seen = []
    for fails_at in range(100):
        storage.begin()
        remote.push(before)
        assert pulled(remote, tmp_path / "back") == BEFORE
        storage.begin(fails_at)
        try:
            remote.push(after)
        except StorageGoneError:
            storage.begin()
            found = pulled(remote, tmp_path / "back")
            assert found in (BEFORE, AFTER), f"torn by {fails_at} operations"
            seen.append(found == AFTER)
            remote.push(after)  # whoever comes next mends it
            assert pulled(remote, tmp_path / "back") == AFTER
            left = content(tmp_path / "remote" / "run")
            assert len(left) == 1 + len(set(AFTER.values()))
        else:
            break
    # Old until the index is written, new from then on; and there was more than one moment of each.
    assert seen == sorted(seen)
    assert seen.count(False) > 3
    assert seen.count(True) > 3


def test_a_pull_that_breaks_off_anywhere_leaves_the_folder_alone(
    remote: RemoteFolder, storage: UnsteadyStorage, tmp_path: Path
) -> None:
    remote.push(lay(tmp_path / "before", BEFORE))
    lay(tmp_path / "back", AFTER)
    storage.begin()
    remote.pull(tmp_path / "elsewhere")
    for fails_at in range(len(storage.done)):
        storage.begin(fails_at)
        with pytest.raises(StorageGoneError):
            remote.pull(tmp_path / "back")
        assert content(tmp_path / "back") == AFTER
        assert not (tmp_path / ".back.partial").exists()


@pytest.mark.parametrize("damage", [b"?" * 1000, b""], ids=["altered", "cut"])
def test_a_damaged_file_is_refused(remote: RemoteFolder, tmp_path: Path, damage: bytes) -> None:
    remote.push(lay(tmp_path / "before", BEFORE))
    (largest,) = [p for p in (tmp_path / "remote").rglob("*") if p.stat().st_size == 1000]
    largest.write_bytes(damage)
    with pytest.raises(MirrorError, match=r"checkpoints/step-1/w is damaged"):
        remote.pull(tmp_path / "back")
    largest.unlink()
    with pytest.raises(MirrorError, match=r"checkpoints/step-1/w is missing"):
        remote.pull(tmp_path / "back")
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize("name", ["../escaped", "/tmp/escaped", "a/../../escaped", "."])
def test_no_copy_writes_outside_its_folder(remote: RemoteFolder, tmp_path: Path, name: str) -> None:
    remote.push(lay(tmp_path / "before", {"a": b"a"}))
    (index,) = (tmp_path / "remote").rglob("index-*.json")
    known = json.loads(index.read_text())
    index.write_text(json.dumps({**known, "files": {name: known["files"]["a"]}}))
    with pytest.raises(MirrorError, match="not a name inside the folder"):
        remote.pull(tmp_path / "back")


def test_a_hash_is_a_hash(remote: RemoteFolder, tmp_path: Path) -> None:
    remote.push(lay(tmp_path / "before", {"a": b"a"}))
    (index,) = (tmp_path / "remote").rglob("index-*.json")
    known = json.loads(index.read_text())
    known["files"]["a"]["sha256"] = "../../secret"
    index.write_text(json.dumps(known))
    with pytest.raises(MirrorError, match="is not a hash"):
        remote.pull(tmp_path / "back")


@pytest.mark.parametrize(("protocol", "made"), [("file", True), (("gcs", "gs"), False)])
def test_no_bucket_is_made(tmp_path: Path, protocol: str | tuple[str, ...], made: bool) -> None:
    storage = UnsteadyStorage()
    storage.protocol = protocol
    make_folder(storage, str(tmp_path / "bucket"))
    assert (tmp_path / "bucket").exists() == made


def test_nothing_is_not_a_copy(remote: RemoteFolder, tmp_path: Path) -> None:
    with pytest.raises(MirrorError, match="there is no copy"):
        remote.pull(tmp_path / "back")

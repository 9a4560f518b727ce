"""A sweep's copies: kept up beside trainings, and enough to go on from where a disk is gone."""

import logging
import shutil
import time
from pathlib import Path

import pytest

from apt_core.errors import UserError
from apt_core.files import sha256_of
from apt_core.trainer.build import run_training
from orchestrator.execution.lock import only_driver
from orchestrator.execution.status import RESULT_FILE, TrialState, write_status
from orchestrator.execution.trial import TrialSpec
from orchestrator.mirror import mirror as module
from orchestrator.mirror import remote
from orchestrator.mirror.mirror import Mirror
from orchestrator.mirror.remote import MirrorError, RemoteFolder
from orchestrator.mirror.snapshot import files_of, newest_step
from tests.orchestrator.mirror.storages import UnsteadyStorage
from tests.orchestrator.mirror.test_snapshot import add_checkpoint
from tests.reference.training_cases import CrashAfter, CrashError, assert_same, outcome
from tests.tiny_run import tiny_experiment

ID = "c0ffee"
SAVED_STEP = 20


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_S", 0.02)
    monkeypatch.setattr(module, "RETRY_S", 0.02)


@pytest.fixture
def storage() -> UnsteadyStorage:
    return UnsteadyStorage()


def trial(folder: Path, run_id: str = ID) -> TrialSpec:
    return TrialSpec(run_id, f"trial {run_id}", folder / run_id, 36, {}, "command")


def mirror_of(storage: UnsteadyStorage, root: Path, *trials: TrialSpec) -> Mirror:
    return Mirror(lambda run_id: RemoteFolder(storage, str(root / "copies" / run_id)), trials)


def steps_there(root: Path, run_id: str = ID) -> int:
    copy = RemoteFolder(UnsteadyStorage(), str(root / "copies" / run_id)).newest()
    return newest_step(copy.files)


def wait_until(root: Path, step: int) -> None:
    deadline = time.monotonic() + 20
    while steps_there(root) != step:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_training_goes_on_from_its_copy_as_if_nothing_had_happened(
    storage: UnsteadyStorage, tmp_path: Path
) -> None:
    config = tiny_experiment(tmp_path, f"training.save_every={SAVED_STEP} steps")
    run_training(config, run_dir=tmp_path / "whole", run_id=ID)
    lost = trial(tmp_path / "lost")
    mirror = mirror_of(storage, tmp_path, lost)
    assert mirror.restore() == 0
    mirror.start()
    with pytest.raises(CrashError):
        run_training(
            config, run_dir=lost.run_dir, run_id=ID, callbacks=[CrashAfter(SAVED_STEP + 7)]
        )
    assert mirror.close() == []
    shutil.rmtree(tmp_path / "lost")

    mirror = mirror_of(storage, tmp_path, lost)
    assert mirror.restore() == 1
    mirror.start()
    run_training(config, run_dir=lost.run_dir, run_id=ID)
    assert mirror.close() == []
    assert_same(outcome(lost.run_dir), outcome(tmp_path / "whole"))

    shutil.rmtree(tmp_path / "lost")  # and of the finished trial, all that a report needs
    assert mirror_of(storage, tmp_path, lost).restore() == 1
    assert_same(outcome(lost.run_dir), outcome(tmp_path / "whole"))
    assert (lost.run_dir / RESULT_FILE).is_file()


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    folder = trial(tmp_path / "here").run_dir
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def lost_run_dir(storage: UnsteadyStorage, tmp_path: Path, run_dir: Path) -> Path:
    """A folder that is gone; its copy has a checkpoint of step 10."""
    add_checkpoint(run_dir, 10)
    mirror = mirror_of(storage, tmp_path, trial(tmp_path / "here"))
    mirror.start()
    assert mirror.close() == []
    shutil.rmtree(run_dir)
    return run_dir


def test_whoever_is_further_wins(storage: UnsteadyStorage, tmp_path: Path, run_dir: Path) -> None:
    def restored() -> int:
        return mirror_of(storage, tmp_path, trial(tmp_path / "here")).restore()

    def send() -> None:
        mirror = mirror_of(storage, tmp_path, trial(tmp_path / "here"))
        mirror.start()
        assert mirror.close() == []

    add_checkpoint(run_dir, 10)
    send()
    assert restored() == 0  # as far as each other
    add_checkpoint(run_dir, 20)
    assert restored() == 0  # the folder is further
    shutil.rmtree(run_dir / "checkpoints")
    add_checkpoint(run_dir, 5)
    assert restored() == 1
    assert not (run_dir / "checkpoints" / "step-00000005").exists()
    (run_dir / RESULT_FILE).write_text("{}")
    send()
    (run_dir / RESULT_FILE).unlink()
    add_checkpoint(run_dir, 30)
    assert restored() == 1  # a result is further than any checkpoint
    assert (run_dir / RESULT_FILE).is_file()
    assert restored() == 0


def test_what_the_storage_has_is_not_even_read_at_the_next_launch(
    storage: UnsteadyStorage, tmp_path: Path, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def relaunch() -> int:
        mirror = mirror_of(storage, tmp_path, trial(tmp_path / "here"))
        brought = mirror.restore()
        mirror.start()
        assert mirror.close() == []
        return brought

    add_checkpoint(run_dir, 10)
    (run_dir / RESULT_FILE).write_text("{}")
    relaunch()
    read: list[Path] = []

    def noted(path: Path) -> str:
        read.append(path)
        return sha256_of(path)

    monkeypatch.setattr(remote, "sha256_of", noted)
    assert (relaunch(), read) == (0, [])
    shutil.rmtree(run_dir)
    assert relaunch() == 1
    num_pulled = len(read)
    assert num_pulled == 3  # checked when they came, not once more when they would be sent
    assert (relaunch(), len(read)) == (0, 2 * num_pulled)  # a new disk has other times: read once
    assert (relaunch(), len(read)) == (0, 2 * num_pulled)


def test_a_single_training_keeps_its_lock_over_a_restore(
    storage: UnsteadyStorage, tmp_path: Path, lost_run_dir: Path
) -> None:
    with only_driver(lost_run_dir):
        assert mirror_of(storage, tmp_path, trial(tmp_path / "here")).restore() == 1
        with pytest.raises(UserError, match="runs it already"), only_driver(lost_run_dir):
            pass
    with only_driver(lost_run_dir):
        assert newest_step(files_of(lost_run_dir)) == 10


def test_a_storage_that_is_away_for_a_while_misses_nothing(
    storage: UnsteadyStorage,
    tmp_path: Path,
    run_dir: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    mirror = mirror_of(storage, tmp_path, trial(tmp_path / "here"))
    mirror.start()
    add_checkpoint(run_dir, 10)
    wait_until(tmp_path, 10)
    with caplog.at_level(logging.WARNING):
        storage.begin(fails_at=0)
        add_checkpoint(run_dir, 20)
        deadline = time.monotonic() + 20
        while "cannot be copied: the network is gone" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.2)
    assert steps_there(tmp_path) == 10
    assert caplog.text.count("cannot be copied") == 1  # not at every try
    storage.begin()
    wait_until(tmp_path, 20)
    assert mirror.close() == []


def test_one_trial_that_cannot_be_copied_is_in_no_others_way(
    storage: UnsteadyStorage, tmp_path: Path, run_dir: Path
) -> None:
    other = trial(tmp_path / "here", "decaf")
    (tmp_path / "copies").mkdir()
    (tmp_path / "copies" / "decaf").write_text("a file, where a folder should be made")
    mirror = mirror_of(storage, tmp_path, other, trial(tmp_path / "here"))
    mirror.start()
    add_checkpoint(run_dir, 10)
    add_checkpoint(other.run_dir, 10)
    wait_until(tmp_path, 10)
    assert mirror.close(timeout_s=0.3) == ["trial decaf"]


def test_the_end_waits_no_longer_than_it_may_and_the_next_launch_sends(
    storage: UnsteadyStorage, tmp_path: Path, run_dir: Path
) -> None:
    spec = trial(tmp_path / "here")
    mirror = mirror_of(storage, tmp_path, spec)
    mirror.start()
    storage.begin(fails_at=0)
    add_checkpoint(run_dir, 10)
    write_status(run_dir, TrialState.KILLED)
    begin = time.monotonic()
    assert mirror.close(timeout_s=0.3) == [spec.label]
    assert time.monotonic() - begin < 10
    storage.begin()
    mirror = mirror_of(storage, tmp_path, spec)
    assert mirror.restore() == 0
    mirror.start()
    assert mirror.close() == []
    assert steps_there(tmp_path) == 10


def test_a_copy_that_cannot_be_read_ends_the_start(
    storage: UnsteadyStorage, tmp_path: Path, lost_run_dir: Path
) -> None:
    storage.begin(fails_at=2)
    with pytest.raises(MirrorError, match=r"the copy of trial c0ffee cannot be read: .* gone"):
        mirror_of(storage, tmp_path, trial(tmp_path / "here")).restore()
    assert not lost_run_dir.exists()

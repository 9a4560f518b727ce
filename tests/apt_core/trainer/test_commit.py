"""A commit that is killed at any of its operations leaves the old checkpoint or the new one."""

import logging
import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from apt_core.trainer import commit
from apt_core.trainer.build import build_trainer, run_training
from apt_core.trainer.callbacks import Callback
from apt_core.trainer.commit import read_manifest
from tests.killed_at import FINISHED, KILLED, run_killed_at
from tests.reference.training_cases import (
    ID,
    CrashAfter,
    CrashError,
    assert_same,
    outcome,
    run_on_full_storage,
)
from tests.spawn import run_workers
from tests.tiny_run import tiny_experiment

OLD, NEW, NEXT = 6, 12, 18


@dataclass
class Scene:
    """Two trainers of one run: one commits, and dies of it; one comes after it."""

    root: Path
    dying: Any = field(init=False)
    after: Any = field(init=False)

    def __post_init__(self):
        config = tiny_experiment(self.root, "arm=lora", "training.keep_checkpoints=1")
        self.dying, self.after = (
            build_trainer(config, run_dir=self.root / "run", run_id=ID) for _ in range(2)
        )
        self.dying.engine = self.dying.make_engine(self.dying.modules, None)
        for trainer in (self.dying, self.after):
            trainer.checkpointer.attached = self.root / "run" / "attached"
        self.attached.parent.mkdir()

    @property
    def attached(self):
        return self.root / "run" / "attached"

    @property
    def folder(self):
        return self.root / "run" / "checkpoints"

    def come_to(self, step, trainer=None):
        """Bring a trainer to a step; everything that it saves then tells which."""
        trainer = trainer or self.dying
        trainer.state.step = step
        self.attached.unlink(missing_ok=True)
        self.attached.write_text(str(step))
        with torch.no_grad():
            self.marker(trainer).fill_(step)

    def marker(self, trainer):
        return next(p for p in trainer.modules.parameters() if p.requires_grad)

    def commit(self):
        self.dying.checkpointer.save(self.dying)
        self.dying.checkpointer.settle(self.dying)

    def names(self):
        return sorted(path.name for path in self.folder.iterdir())

    def load(self):
        """The step that a successor goes on from; all of it is of this step."""
        self.after.checkpointer.restore_latest(self.after)
        step = self.after.state.step
        assert self.marker(self.after).eq(step).all()
        assert self.attached.read_text() == str(step)
        read_manifest(self.folder / f"step-{step:08d}", ID)
        return step

    def commit_next(self):
        self.come_to(NEXT, self.after)
        self.after.checkpointer.save(self.after)
        self.after.checkpointer.settle(self.after)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return Scene(tmp_path_factory.mktemp("commit"))


def prepare(scene, damaged):
    """What lies there before the commit."""
    shutil.rmtree(scene.folder, ignore_errors=True)
    scene.dying.checkpointer.keep = 2
    for step in (OLD, NEW):
        scene.come_to(step)
        scene.commit()
    scene.dying.checkpointer.keep = 1
    newer = scene.folder / f"step-{NEW:08d}"
    if damaged:
        (newer / "weights.safetensors").write_bytes(b"damaged")
    else:
        shutil.rmtree(newer)


def commit_until(scene, last, log, template):
    """Commit, from what the template holds, and die before the operation `last`."""
    shutil.rmtree(scene.folder)
    shutil.copytree(template, scene.folder)
    scene.come_to(NEW)
    return run_killed_at(last, log, scene.commit)


@pytest.mark.parametrize("damaged", [False, True], ids=["anew", "over a damaged one"])
def test_whenever_a_commit_is_killed_the_old_or_the_new_one_is_there_and_whole(
    scene, tmp_path, caplog, damaged
):
    caplog.set_level(logging.ERROR)
    prepare(scene, damaged)
    template = shutil.copytree(scene.folder, tmp_path / "template")
    log = tmp_path / "operations"
    assert commit_until(scene, 0, log, template) == FINISHED
    operations = log.read_text().splitlines()
    for name in ("os.mkdir", "os.link", "half of manifest.json", "os.rename", "os.rmdir"):
        assert name in operations
    # Up to the manifest both ways are one.
    first = operations.index("half of manifest.json") if damaged else 1
    found = []
    for last in range(first, len(operations) + 1):
        assert commit_until(scene, last, log, template) == KILLED
        found.append(scene.load())
        scene.commit_next()
        assert scene.names() == [f"step-{NEXT:08d}"], "leftovers"
    assert found == sorted(found), "the new one was there and is gone"
    assert set(found) == {OLD, NEW}


def test_what_is_saved_and_whole_is_not_written_again(scene, tmp_path):
    """A run that is asked to stop as soon as it has resumed stands where its checkpoint stands."""
    shutil.rmtree(scene.folder, ignore_errors=True)
    scene.come_to(NEW)
    scene.commit()
    assert run_killed_at(1, tmp_path / "operations", scene.commit) == FINISHED
    assert scene.load() == NEW


def test_the_new_name_is_on_disk_before_the_old_checkpoint_goes(scene, tmp_path):
    prepare(scene, damaged=False)
    scene.come_to(NEW)
    log = tmp_path / "operations"
    assert run_killed_at(0, log, scene.commit) == FINISHED
    done = log.read_text().splitlines()
    renamed = done.index("os.rename")
    assert done[renamed - 1] == "fsync", "the names in the new folder"
    assert done[renamed + 1] == "fsync", "its own name"


@pytest.fixture(scope="module")
def undisturbed(scene):
    run_training(tiny_experiment(scene.root), run_dir=scene.root / "whole", run_id=ID)
    return outcome(scene.root / "whole")


def names(run_dir):
    return sorted(path.name for path in (run_dir / "checkpoints").iterdir())


class StuckStorage:
    """Takes what a commit writes only when it is let go."""

    def __init__(self, monkeypatch, step):
        self.is_free = threading.Event()
        self.reached = threading.Event()
        self._write, self._name = commit.write_tensors, f"partial-{step:08d}"
        monkeypatch.setattr(commit, "write_tensors", self)

    def __call__(self, path, tensors):
        if path.parent.name == self._name:
            self.reached.set()
            assert self.is_free.wait(60)
        self._write(path, tensors)


class LetGoAt(Callback):
    """Frees a storage when a step is done; sees what lies there until then."""

    def __init__(self, storage, run_dir, step):
        self.storage, self.run_dir, self.step = storage, run_dir, step
        self.seen = []

    def on_step_end(self, state, metrics):
        if self.storage.reached.is_set() and not self.storage.is_free.is_set():
            self.seen.append((state.step, names(self.run_dir)))
        if state.step == self.step:
            assert self.storage.reached.wait(60)
            self.storage.is_free.set()


def test_the_training_goes_on_while_a_commit_is_written_and_changes_nothing_in_it(
    scene, undisturbed, tmp_path, monkeypatch
):
    """What is committed is step 12, surgery and all, though the training has come to step 17."""
    storage = StuckStorage(monkeypatch, 12)
    watcher = LetGoAt(storage, tmp_path, 17)
    with pytest.raises(CrashError):
        run_training(
            tiny_experiment(scene.root),
            run_dir=tmp_path,
            run_id=ID,
            callbacks=[watcher, CrashAfter(17)],
        )
    assert (17, ["partial-00000012", "step-00000006"]) in watcher.seen
    # The error has waited for the commit.
    assert names(tmp_path)[-1] == "step-00000012"
    assert not list(tmp_path.glob("checkpoints/partial-*"))
    monkeypatch.undo()
    run_training(tiny_experiment(scene.root), run_dir=tmp_path, run_id=ID)
    assert_same(outcome(tmp_path), undisturbed)


def test_a_second_save_waits_for_the_first(scene, undisturbed, tmp_path, monkeypatch):
    storage = StuckStorage(monkeypatch, 6)
    order = []

    class Order(Callback):
        def on_step_end(self, state, metrics):
            order.append(state.step)
            if state.step == 12:  # the save that follows has to wait
                threading.Timer(0.2, storage.is_free.set).start()

        def on_checkpoint(self, state, path):
            order.append(path.name)

    run_training(tiny_experiment(scene.root), run_dir=tmp_path, run_id=ID, callbacks=[Order()])
    assert order.index("step-00000006") == order.index(12) + 1
    saved = [step for step in order if isinstance(step, str)]
    assert saved == [f"step-{step:08d}" for step in range(6, 37, 6)]
    assert_same(outcome(tmp_path), undisturbed)


@pytest.mark.distributed
def test_every_worker_learns_that_the_first_could_not_commit(scene, tmp_path):
    told = run_workers(
        run_on_full_storage, num_workers=2, root=str(scene.root), run_dir=str(tmp_path), step=12
    )
    assert len(set(told)) == 1
    assert "step 12 cannot be written: " in told[0]
    assert names(tmp_path) == ["step-00000006"]

"""A commit that is killed at any of its operations leaves the old checkpoint or the new one."""

import logging
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from apt_core.trainer.build import build_trainer
from apt_core.trainer.checkpoint import read_manifest
from tests.killed_at import FINISHED, KILLED, run_killed_at
from tests.reference.training_cases import ID
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

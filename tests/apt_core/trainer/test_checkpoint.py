"""Checkpoints: exact under every precision, whole or not there, and never too many."""

import errno
import json
import logging
import os
import resource
from typing import Any

import pytest

from apt_core import files
from apt_core.errors import CheckpointError
from apt_core.trainer import commit
from apt_core.trainer.build import build_trainer, run_training
from apt_core.trainer.callbacks import Callback
from apt_core.trainer.commit import MANIFEST, read_manifest
from tests.reference.training_cases import (
    ID,
    CrashAfter,
    CrashError,
    assert_same,
    check_resumes_exactly,
    outcome,
)
from tests.spawn import run_workers
from tests.tiny_run import EVENTS, tiny_experiment

WINDOW_STEP = EVENTS[0] - 2


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("checkpoint")


@pytest.fixture(scope="module")
def undisturbed(root):
    run_training(tiny_experiment(root), run_dir=root / "whole", run_id=ID)
    return outcome(root / "whole")


def names(run_dir):
    return sorted(path.name for path in (run_dir / "checkpoints").iterdir())


def run_until(root, run_dir, step, *overrides):
    config = tiny_experiment(root, *overrides)
    with pytest.raises(CrashError):
        run_training(config, run_dir=run_dir, run_id=ID, callbacks=[CrashAfter(step)])
    return config


def spoil(folder):
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"?")


def test_bf16_resumes_bit_identical_inside_a_window(root, tmp_path):
    overrides = ["hardware.precision=bf16", "training.save_every=1"]
    assert check_resumes_exactly(str(root), str(tmp_path), overrides, WINDOW_STEP) == 36


@pytest.mark.distributed
def test_deepspeed_resumes_bit_identical_inside_a_window(root, tmp_path):
    tiny_experiment(root)
    arguments: dict[str, Any] = {
        "root": str(root),
        "run_dir": str(tmp_path),
        "overrides": [
            "hardware.engine=deepspeed",
            "hardware.zero_stage=2",
            "training.save_every=1",
        ],
        "step": WINDOW_STEP,
    }
    assert run_workers(check_resumes_exactly, num_workers=1, **arguments) == [36]


@pytest.mark.parametrize("problem", [errno.ENOSPC, errno.EROFS], ids=errno.errorcode.get)
def test_storage_that_takes_no_more_leaves_the_earlier_checkpoint_whole(
    root, undisturbed, tmp_path, monkeypatch, problem
):
    write = commit.write_tensors

    def refused(path, tensors):
        if path.parent.name == "partial-00000012" and path.name.startswith("optimizer"):
            raise OSError(problem, os.strerror(problem))
        write(path, tensors)

    monkeypatch.setattr(commit, "write_tensors", refused)
    check_is_refused(root, tmp_path, os.strerror(problem))
    monkeypatch.undo()
    run_training(tiny_experiment(root), run_dir=tmp_path, run_id=ID)
    assert_same(outcome(tmp_path), undisturbed)


def test_what_the_kernel_refuses_in_the_middle_of_a_file_is_told_alike(root, undisturbed, tmp_path):
    """No full disk is at hand; a limit for files fails in the same place, and really."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        check_is_refused(root, tmp_path, "File too large", [LimitFiles(tmp_path, limits[1])])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    run_training(tiny_experiment(root), run_dir=tmp_path, run_id=ID)
    assert_same(outcome(tmp_path), undisturbed)


class LimitFiles(Callback):
    """From the first checkpoint on, no file may be longer than half of its weights."""

    def __init__(self, run_dir, most):
        self.run_dir = run_dir
        self.most = most

    def on_checkpoint(self, state, path):
        half = (path / "weights.safetensors").stat().st_size // 2
        assert half > 2 * (self.run_dir / "metrics.jsonl").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (half, self.most))


def check_is_refused(root, run_dir, told, callbacks=()):
    """The save at step 12 fails and says so; what the save at step 6 left is whole."""
    config = tiny_experiment(root)
    with pytest.raises(CheckpointError, match=f"step 12 cannot be written: .*{told}.*continues"):
        run_training(config, run_dir=run_dir, run_id=ID, callbacks=callbacks)
    assert names(run_dir) == ["step-00000006"], "what it began takes no room"
    read_manifest(run_dir / "checkpoints" / "step-00000006", ID)


@pytest.mark.parametrize("keep", [1, 2])
def test_a_damaged_newer_checkpoint_does_not_push_out_the_good_ones(root, tmp_path, keep):
    keeping = f"training.keep_checkpoints={keep}"
    run_until(root, tmp_path, 13, keeping)  # has saved at 6 and 12
    if keep == 1:
        run_until(root, tmp_path / "other", 7, keeping)
        (tmp_path / "other/checkpoints/step-00000006").rename(
            tmp_path / "checkpoints" / "step-00000006"
        )
    spoil(tmp_path / "checkpoints" / "step-00000012")
    run_until(root, tmp_path, 11, keeping, "training.save_every=10")
    kept = ["step-00000006", "step-00000010"][-keep:]
    assert names(tmp_path) == kept
    read_manifest(tmp_path / "checkpoints" / "step-00000010", ID)


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", "17", "\xff"])
def test_a_manifest_that_is_none_is_passed_over(root, undisturbed, tmp_path, text):
    config = run_until(root, tmp_path, 13)
    newest = tmp_path / "checkpoints" / "step-00000012"
    (newest / MANIFEST).write_text(text, encoding="latin-1")
    with pytest.raises(CheckpointError, match=MANIFEST):
        read_manifest(newest, ID)
    run_training(config, run_dir=tmp_path, run_id=ID)
    assert_same(outcome(tmp_path), undisturbed)


def test_a_format_of_the_future_is_refused(root, tmp_path):
    run_until(root, tmp_path, 7)
    path = tmp_path / "checkpoints" / "step-00000006" / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(CheckpointError, match="format 99, expected 1"):
        read_manifest(path.parent, ID)


def test_a_missing_file_is_named(root, tmp_path):
    run_until(root, tmp_path, 7)
    folder = tmp_path / "checkpoints" / "step-00000006"
    (folder / "optimizer.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"optimizer\.safetensors: missing or altered"):
        read_manifest(folder, ID)


def test_when_no_checkpoint_is_whole_the_run_stops_and_names_them_all(root, tmp_path, caplog):
    config = run_until(root, tmp_path, 13)
    for folder in (tmp_path / "checkpoints").iterdir():
        spoil(folder)
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(CheckpointError, match="remove the folder") as error,
    ):
        run_training(config, run_dir=tmp_path, run_id=ID)
    assert all(step in str(error.value) for step in ("step-00000006", "step-00000012"))
    assert caplog.text.count("skipping a checkpoint") == 2


def test_a_restored_trainer_stands_where_the_saved_one_stood(root, tmp_path):
    config = run_until(root, tmp_path, 17, "training.save_every=16")
    trainer = build_trainer(config, run_dir=tmp_path, run_id=ID)
    original = trainer.state.structure
    trainer.checkpointer.restore_latest(trainer)
    state = trainer.state
    assert state.step == 16
    assert state.num_restarts == 1
    assert state.sparsity > 0.2
    assert state.teacher_structure == original
    assert trainer.distiller.structure == trainer.salience.structure == state.structure
    assert trainer.controller.masks.is_open
    shared = set(trainer.modules.shared_with_teacher())
    assert shared, "embeddings and head stay shared, or memory doubles"


def test_weights_of_another_shape_are_refused(root, tmp_path):
    run_until(root, tmp_path, 13)
    other = build_trainer(tiny_experiment(root, "arm=ft"), run_dir=tmp_path, run_id=ID)
    with pytest.raises((CheckpointError, RuntimeError)):
        other.checkpointer.restore_latest(other)


@pytest.mark.parametrize("links", [True, False])
def test_an_attached_file_is_kept_as_it_was_and_put_back(root, tmp_path, monkeypatch, links):
    if not links:

        def refuse(source, target):
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(files.os, "link", refuse)
    trainer = build_trainer(tiny_experiment(root, "arm=lora"), run_dir=tmp_path, run_id=ID)
    trainer.engine = trainer.make_engine(trainer.modules, None)
    attached = trainer.checkpointer.attached = tmp_path / "attached"
    attached.write_text("then")
    trainer.checkpointer.save(trainer)
    attached.unlink()
    attached.write_text("later")
    trainer.checkpointer.restore_latest(trainer)
    assert attached.read_text() == "then"

import json

import pytest
import torch
from safetensors.torch import load_file

from apt_core.errors import CheckpointError
from apt_core.trainer.build import run_training
from apt_core.trainer.callbacks import Callback
from tests.tiny_run import DISTILL_STOP, EVENTS, TEACHER_STEP, tiny_experiment

ID = "0123456789abcdef"


class CrashError(Exception):
    pass


class CrashAfter(Callback):
    """Stops the run right after a step, before anything else is saved."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, state, metrics):
        if state.step == self.step:
            raise CrashError


def outcome(folder):
    """Everything that must not depend on interruptions: exported weights and logged metrics."""
    weights = load_file(folder / "export" / "model.safetensors")
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    timed = ("time/", "memory/", "surgery/")
    metrics = [
        (line["step"], {k: v for k, v in line["values"].items() if not k.startswith(timed)})
        for line in map(json.loads, lines)
    ]
    return weights, metrics


def assert_same(a, b):
    assert a[1] == b[1]
    assert a[0].keys() == b[0].keys()
    for name in a[0]:
        assert torch.equal(a[0][name], b[0][name]), name


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("resume")


@pytest.fixture(scope="module")
def undisturbed(root):
    run_training(tiny_experiment(root), run_dir=root / "whole", run_id=ID)
    return outcome(root / "whole")


MOMENTS = {
    "in plain tuning": 4,
    "when the teacher is taken": TEACHER_STEP,
    "inside a decay window": EVENTS[0] - 2,
    "at a prune and growth event": EVENTS[0],
    "right after an event": EVENTS[1] + 1,
    "at the last event": EVENTS[2],
    "when the teacher is dropped": DISTILL_STOP,
    "near the end": 35,
}


@pytest.mark.parametrize("step", MOMENTS.values(), ids=MOMENTS)
@pytest.mark.parametrize("save_every", ["6 steps", "1 steps"])
def test_a_run_stopped_anywhere_ends_bit_identical(root, undisturbed, step, save_every, tmp_path):
    config = tiny_experiment(root, f"training.save_every={save_every}")
    with pytest.raises(CrashError):
        run_training(config, run_dir=tmp_path, run_id=ID, callbacks=[CrashAfter(step)])
    report = run_training(config, run_dir=tmp_path, run_id=ID)
    assert_same(outcome(tmp_path), undisturbed)
    assert report.total_steps == 36


def test_a_run_stopped_twice_ends_bit_identical(root, undisturbed, tmp_path):
    config = tiny_experiment(root)
    for step in (13, 26):
        with pytest.raises(CrashError):
            run_training(config, run_dir=tmp_path, run_id=ID, callbacks=[CrashAfter(step)])
    run_training(config, run_dir=tmp_path, run_id=ID)
    assert_same(outcome(tmp_path), undisturbed)


@pytest.mark.parametrize("arm", ["ft", "lora"])
def test_arms_without_surgery_resume_too(root, arm, tmp_path):
    config = tiny_experiment(root, f"arm={arm}")
    run_training(config, run_dir=tmp_path / "whole", run_id=ID)
    with pytest.raises(CrashError):
        run_training(config, run_dir=tmp_path / "cut", run_id=ID, callbacks=[CrashAfter(20)])
    run_training(config, run_dir=tmp_path / "cut", run_id=ID)
    assert_same(outcome(tmp_path / "cut"), outcome(tmp_path / "whole"))


def test_an_altered_checkpoint_is_passed_over_for_the_one_before(root, undisturbed, tmp_path):
    config = tiny_experiment(root)
    with pytest.raises(CrashError):
        run_training(config, run_dir=tmp_path, run_id=ID, callbacks=[CrashAfter(20)])
    newest = sorted((tmp_path / "checkpoints").glob("step-*"))[-1]
    data = bytearray((newest / "weights.safetensors").read_bytes())
    data[-1] ^= 1
    (newest / "weights.safetensors").write_bytes(bytes(data))
    run_training(config, run_dir=tmp_path, run_id=ID)
    assert_same(outcome(tmp_path), undisturbed)


def test_checkpoints_of_another_run_are_refused(root, tmp_path):
    config = tiny_experiment(root)
    with pytest.raises(CrashError):
        run_training(config, run_dir=tmp_path, run_id=ID, callbacks=[CrashAfter(8)])
    with pytest.raises(CheckpointError, match="belongs to run"):
        run_training(config, run_dir=tmp_path, run_id="f" * 16)


def test_a_half_written_checkpoint_is_ignored(root, undisturbed, tmp_path):
    config = tiny_experiment(root)
    with pytest.raises(CrashError):
        run_training(config, run_dir=tmp_path, run_id=ID, callbacks=[CrashAfter(20)])
    (tmp_path / "checkpoints" / "partial-00000019").mkdir()
    run_training(config, run_dir=tmp_path, run_id=ID)
    assert_same(outcome(tmp_path), undisturbed)


def test_only_the_newest_checkpoints_are_kept(root, tmp_path):
    run_training(tiny_experiment(root), run_dir=tmp_path, run_id=ID)
    names = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-00000030", "step-00000036"]

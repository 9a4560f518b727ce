import pytest

from apt_core.errors import CheckpointError
from apt_core.trainer.build import run_training
from tests.reference.training_cases import ID, CrashAfter, CrashError, assert_same, outcome
from tests.tiny_run import DISTILL_STOP, EVENTS, TEACHER_STEP, tiny_experiment


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("resume")


@pytest.fixture(scope="module")
def undisturbed(root):
    run_training(tiny_experiment(root), run_dir=root / "whole", run_id=ID)
    return outcome(root / "whole")


MOMENTS = {
    "in plain tuning": (4, 6),  # before the first checkpoint
    "when the teacher is taken": (TEACHER_STEP, 1),
    "inside a decay window": (EVENTS[0] - 2, 1),
    "at a prune and growth event": (EVENTS[0], 6),
    "right after an event": (EVENTS[1] + 1, 1),
    "at the last event": (EVENTS[2], 6),
    "when the teacher is dropped": (DISTILL_STOP + 1, 1),
    "near the end": (35, 6),
}
"""Step to stop after, and steps between checkpoints."""


@pytest.mark.parametrize(("step", "save_every"), MOMENTS.values(), ids=MOMENTS)
def test_a_run_stopped_anywhere_ends_bit_identical(root, undisturbed, step, save_every, tmp_path):
    config = tiny_experiment(root, f"training.save_every={save_every} steps")
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

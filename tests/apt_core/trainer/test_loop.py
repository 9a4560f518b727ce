"""The loop's order of events, and a whole run against committed losses.

After a deliberate change of the method write the losses anew with
``python -m tests.apt_core.trainer.test_loop --write``, and say in the commit why they changed.
"""

import json
import sys
import tempfile
from pathlib import Path

import pytest

from apt_core.errors import TrainingError
from apt_core.trainer.build import build_trainer
from apt_core.trainer.engine import StepOutcome
from apt_core.trainer.optim import learning_rate_at
from apt_core.trainer.torch_engine import TorchEngine
from tests.tiny_run import DISTILL_STOP, EVENTS, TEACHER_STEP, TOTAL_STEPS, tiny_experiment

GOLDEN = Path(__file__).with_name("golden_losses.txt")
HEADER = "# step, train/loss; see test_loop.py"
ID = "0123456789abcdef"
SURGERIES = {TEACHER_STEP, *EVENTS, DISTILL_STOP}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("loop")


def build(root, run_dir, *overrides):
    config = tiny_experiment(root, *overrides, dropout=0.0)
    return build_trainer(config, run_dir=run_dir, run_id=ID)


def logged(run_dir):
    lines = map(json.loads, (run_dir / "metrics.jsonl").read_text().splitlines())
    return {line["step"]: line["values"] for line in lines}


def spy(monkeypatch, calls, owner, *names):
    """Write the name of every call into a list, before the call."""
    for name in names:
        original = getattr(owner, name)

        def called(*args, name=name, original=original, **kwargs):
            calls.append(name)
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, called)


@pytest.fixture
def traced(root, tmp_path, monkeypatch):
    """A trainer and the list that its collaborators' calls go to."""
    trainer = build(root, tmp_path)
    calls: list[str] = []
    spy(monkeypatch, calls, trainer.salience, "measure", "commit", "remap")
    spy(monkeypatch, calls, trainer.controller, "decide", "apply", "move_masks")
    spy(monkeypatch, calls, trainer.distiller, "remap")
    spy(monkeypatch, calls, TorchEngine, "backward", "step", "harvest", "release")
    spy(monkeypatch, calls, trainer.evaluator, "evaluate")
    return trainer, calls


def by_step(calls):
    """What was called from one backward pass to the next."""
    starts = [i for i, name in enumerate(calls) if name == "backward"]
    ends = [*starts[1:], len(calls)]
    return {n + 1: calls[a:b] for n, (a, b) in enumerate(zip(starts, ends, strict=True))}


def test_salience_precedes_the_update_and_surgery_follows_it(traced):
    trainer, calls = traced
    trainer.train()
    steps = by_step(calls)
    assert len(steps) == TOTAL_STEPS
    assert steps[3] == ["backward", "step", "decide", "move_masks"]
    recorded = ["backward", "measure", "step", "commit", "decide"]
    surgery = ["harvest", "release", "apply", "remap", "remap"]
    assert steps[TEACHER_STEP] == [*recorded, *surgery, "move_masks"]
    assert steps[8] == [*recorded, "move_masks"]
    # At 12 the run also evaluates and saves: always behind the surgery.
    assert steps[12] == [*recorded, *surgery, "move_masks", "evaluate", "harvest"]
    assert steps[25] == ["backward", "step", "decide", "move_masks"]


def test_the_engine_is_rebuilt_at_surgeries_only(root, tmp_path):
    trainer, built = build(root, tmp_path), []
    make_engine = trainer.make_engine

    def make(*args):
        built.append(trainer.state.step)
        return make_engine(*args)

    trainer.make_engine = make
    trainer.train()
    assert built == [0, *sorted(SURGERIES)]


def overflowing(monkeypatch, steps):
    """Pretend that the gradients of these steps (counted from 1) were not finite."""
    step, count = TorchEngine.step, iter(range(1, 1000))

    def maybe(self, learning_rate):
        if next(count) not in steps:
            return step(self, learning_rate)
        self.module.zero_grad(set_to_none=True)
        return StepOutcome(0.0, loss_scale=1.0, overflowed=True)

    monkeypatch.setattr(TorchEngine, "step", maybe)


def test_a_step_that_overflowed_commits_no_salience(root, tmp_path, monkeypatch):
    trainer, committed = build(root, tmp_path), []
    commit = trainer.salience.commit

    def recorded(salience):
        committed.append(trainer.state.step + 1)
        commit(salience)

    monkeypatch.setattr(trainer.salience, "commit", recorded)
    overflowing(monkeypatch, {8, 9, EVENTS[1]})
    report = trainer.train()
    assert committed == [s for s in range(7, EVENTS[-1] + 1) if s not in {8, 9, EVENTS[1]}]
    assert report.sparsity >= 0.5


def test_a_first_window_that_overflows_is_survived(root, tmp_path, monkeypatch):
    overflowing(monkeypatch, {7, 8})
    assert build(root, tmp_path).train().sparsity >= 0.5


def test_a_run_whose_every_step_overflows_ends_with_advice(root, tmp_path, monkeypatch):
    overflowing(monkeypatch, range(1000))
    trainer = build(root, tmp_path, "training.max_steps=60", "arm=lora")
    with pytest.raises(TrainingError, match="51 steps in a row"):
        trainer.train()


def test_the_learning_rate_goes_on_through_every_rebuild(root, tmp_path, monkeypatch):
    used = []
    step = TorchEngine.step

    def recorded(self, learning_rate):
        outcome = step(self, learning_rate)
        used.append({group["lr"] for group in self._optimizer.param_groups})
        return outcome

    monkeypatch.setattr(TorchEngine, "step", recorded)
    build(root, tmp_path, "training.warmup=5").train()
    expected = [
        learning_rate_at(s, peak=0.003, warmup_steps=5, total_steps=TOTAL_STEPS)
        for s in range(TOTAL_STEPS)
    ]
    assert used == [{rate} for rate in expected]
    assert [m["train/learning_rate"] for m in logged(tmp_path).values()] == expected


def test_moments_are_carried_over_a_surgery_or_dropped_as_configured(root, tmp_path):
    moments: dict[str, list[int]] = {}
    for choice in ("carry", "reset"):
        trainer = build(root, tmp_path / choice, f"training.optimizer_on_surgery={choice}")
        make_engine = trainer.make_engine

        def make(modules, snapshot, choice=choice, make_engine=make_engine):
            if snapshot is not None:
                moments.setdefault(choice, []).append(len(snapshot.exp_avg))
            return make_engine(modules, snapshot)

        trainer.make_engine = make
        trainer.train()
    assert min(moments["carry"]) > 0
    assert moments["reset"] == [0] * len(SURGERIES)


def test_what_is_logged_evaluated_and_saved_follows_the_cadence(root, tmp_path):
    trainer = build(
        root,
        tmp_path,
        "training.log_every=10",
        "training.eval_every=16",
        "training.save_every=20",
    )
    saved = []
    save = trainer.checkpointer.save

    def recorded(given):
        saved.append(given.state.step)
        return save(given)

    trainer.checkpointer.save = recorded
    report = trainer.train()
    assert saved == [20, TOTAL_STEPS]
    assert [point.step for point in report.history] == [16, 32, TOTAL_STEPS]
    lines = logged(tmp_path)
    assert set(lines) == {10, 16, 20, 30, 32, 36} | SURGERIES
    assert all(values["memory/peak_gib"] > 0 for values in lines.values())
    peaks = report.peak_memory_by_phase_gib
    assert list(peaks) == ["tuning", "pruning", "distilling", "retraining"]
    assert max(peaks.values()) == report.efficiency.peak_train_memory_gib


def test_an_error_reaches_the_callbacks_and_the_caller(root, tmp_path, monkeypatch):
    trainer, heard = build(root, tmp_path), []
    monkeypatch.setattr(trainer.callbacks, "on_error", lambda state, error: heard.append(error))
    monkeypatch.setattr(trainer, "batches", lambda step: iter([]))
    with pytest.raises(StopIteration) as caught:
        trainer.train()
    assert heard == [caught.value]


def losses(root, run_dir):
    build(root, run_dir).train()
    return {step: values["train/loss"] for step, values in logged(run_dir).items()}


def test_a_whole_run_gives_the_committed_losses(root, tmp_path):
    lines = [line.split() for line in GOLDEN.read_text().splitlines() if line[0] != "#"]
    golden = {int(step): float(loss) for step, loss in lines}
    assert len(golden) == TOTAL_STEPS
    assert losses(root, tmp_path) == pytest.approx(golden, rel=1e-4, abs=1e-6)


if __name__ == "__main__" and "--write" in sys.argv:
    with tempfile.TemporaryDirectory() as folder:
        values = losses(Path(folder), Path(folder) / "run")
    text = [HEADER, *(f"{step} {loss:.8f}" for step, loss in values.items())]
    GOLDEN.write_text("\n".join(text) + "\n")

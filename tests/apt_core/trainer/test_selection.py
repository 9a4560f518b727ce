"""The chosen weights: the best ones of the final shape, whatever comes after, also over a crash."""

import json
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from apt_core.errors import CheckpointError
from apt_core.models.trained_modules import TrainedModules
from apt_core.trainer.build import build_trainer, run_training
from apt_core.trainer.optim import trainable_parameters
from apt_core.trainer.reporter import HELD_OUT, Reporter
from apt_core.trainer.selection import BestWeights, is_better
from apt_core.trainer.state import TrainerState
from tests.reference.training_cases import (
    ID,
    CrashAfter,
    CrashError,
    assert_same,
    moody,
    outcome,
    run_capricious,
)
from tests.spawn import run_workers
from tests.tiny import tiny_model
from tests.tiny_run import EVENTS, tiny_experiment

CHOOSING = (
    "data.holdout_rows=24",
    "training.choose_best=true",
    "training.eval_every=1 steps",
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("selection")


class FakeEngine:
    """Knows masters, as every engine does when it is asked for its state."""

    def __init__(self, modules):
        self.modules = modules

    def harvest(self):
        masters = {n: p.detach() for n, p in trainable_parameters(self.modules)}
        return type("Snapshot", (), {"masters": masters | {"projection.lora_a": torch.ones(2)}})


class Scene:
    """Weights that are judged at one step after the other."""

    def __init__(self, folder, *, first_step=0):
        loaded, structure = tiny_model()
        self.modules: Any = TrainedModules(loaded.model)
        self.state = TrainerState(100, structure, loaded.structure)
        self.best = BestWeights(folder / "best.safetensors", first_step=first_step)

    def judge(self, step, metric):
        """The weights are the step's number."""
        self.fill(step)
        self.state.step = step
        engine: Any = FakeEngine(self.modules)
        self.best.consider(engine, self.state, metric)

    def fill(self, value):
        with torch.no_grad():
            for _, parameter in trainable_parameters(self.modules):
                parameter.fill_(float(value))

    def values(self):
        return {v for _, p in trainable_parameters(self.modules) for v in p.flatten().tolist()}


@pytest.mark.parametrize(
    ("metric", "before", "better"),
    [(0.0, None, True), (0.5, 0.4, True), (0.5, 0.5, False), (0.4, 0.5, False), (-0.1, -0.2, True)],
)
def test_better_is_higher_and_among_equals_the_earlier(metric, before, better):
    assert is_better(metric, before) == better


def test_the_best_weights_come_back(tmp_path):
    scene = Scene(tmp_path)
    for step, metric in enumerate([0.3, 0.7, 0.7, 0.1]):
        scene.judge(step, metric)
    assert (scene.state.chosen_step, scene.state.chosen_metric) == (1, 0.7)
    assert scene.values() == {3.0}
    scene.best.load(scene.modules, scene.state)
    assert scene.values() == {1.0}


def test_evaluations_of_another_shape_do_not_count(tmp_path):
    scene = Scene(tmp_path, first_step=10)
    scene.judge(9, 0.9)
    assert scene.state.chosen_step is None
    assert list(tmp_path.iterdir()) == []
    scene.judge(10, 0.1)
    assert scene.state.chosen_step == 10


def test_only_what_is_trained_of_the_student_is_kept(tmp_path):
    scene = Scene(tmp_path)
    scene.judge(1, 0.5)
    kept = load_file(scene.best.path)
    assert kept.keys() == {name for name, _ in trainable_parameters(scene.modules)}
    assert len(kept) < len(list(scene.modules.parameters()))
    assert [path.name for path in tmp_path.iterdir()] == ["best.safetensors"]


def test_a_file_of_another_step_is_refused(tmp_path):
    scene = Scene(tmp_path)
    scene.judge(1, 0.5)
    scene.state.chosen_step = 7
    with pytest.raises(CheckpointError, match="holds the weights of step 1, the run chose 7"):
        scene.best.load(scene.modules, scene.state)


def test_weights_of_another_shape_are_refused_by_name(tmp_path):
    scene = Scene(tmp_path)
    scene.judge(1, 0.5)
    name, layer = next(
        (name, layer)
        for name, layer in scene.modules.named_modules()
        if isinstance(getattr(layer, "lora_a", None), torch.nn.Parameter)
    )
    layer.set_branch(layer.lora_a[:-1].detach(), layer.lora_b[:, :-1].detach())
    with pytest.raises(CheckpointError, match=f"does not fit the model at .*{name}.lora_a"):
        scene.best.load(scene.modules, scene.state)


@pytest.mark.parametrize("content", [None, b"", b"no weights"])
def test_a_file_that_is_gone_or_torn_is_an_error_of_its_own(tmp_path, content):
    scene = Scene(tmp_path)
    scene.judge(1, 0.5)
    scene.best.path.unlink()
    if content is not None:
        scene.best.path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"best.safetensors: the chosen weights cannot be"):
        scene.best.load(scene.modules, scene.state)


def spoilt_run(root, run_dir, *overrides):
    """Learns for 50 steps, then forgets everything at an absurd rate: trainer, report, scores."""
    config = tiny_experiment(
        root,
        "arm=ft",
        "training.max_steps=60",
        "training.batch_size=24",
        "training.learning_rate=0.005",
        "data.holdout_rows=24",
        "training.eval_every=3 steps",
        *overrides,
        dropout=0.0,
    )
    trainer = build_trainer(config, run_dir=run_dir, run_id=ID)
    trainer.learning_rate = lambda step: 0.005 if step < 50 else 0.5
    report = trainer.train()
    lines = map(json.loads, (run_dir / "metrics.jsonl").read_text().splitlines())
    scores = {line["step"]: line["values"].get(HELD_OUT) for line in lines}
    return trainer, report, scores


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_spoilt_end_is_neither_reported_nor_exported(root, tmp_path, precision):
    _, report, scores = spoilt_run(
        root, tmp_path, "training.choose_best=true", f"hardware.precision={precision}"
    )
    scores = {step: score for step, score in scores.items() if score is not None}
    chosen = max(scores, key=lambda step: (scores[step], -step))
    assert chosen < 51
    assert report.metrics["chosen_step"] == chosen
    assert report.metrics["holdout/metric"] == scores[chosen] > scores[60] + 0.2
    measured = {point.step: point.metric for point in report.history}
    assert list(measured) == list(range(3, 61, 3))
    assert report.metric == measured[chosen] > measured[60] + 0.2
    exported = load_file(tmp_path / "export" / "model.safetensors")
    kept = load_file(tmp_path / "best.safetensors")
    assert len(exported) > 10
    for name, weight in exported.items():
        assert torch.equal(weight, kept[f"student.{name}"]), name


def test_by_default_the_last_weights_stand_and_the_held_out_rows_wait_for_the_end(root, tmp_path):
    trainer, report, scores = spoilt_run(root, tmp_path)
    assert set(scores.values()) == {None}
    assert "chosen_step" not in report.metrics
    assert report.metric == report.history[-1].metric
    assert not (tmp_path / "best.safetensors").exists()
    assert trainer.state.chosen_step is None


def test_only_steps_of_the_final_shape_are_chosen(root, tmp_path, monkeypatch):
    scores = iter([1.0] * (EVENTS[-1] - 1) + [0.2, 0.1, 0.3] + [0.0] * 100)
    monkeypatch.setattr(Reporter, "held_out", lambda self, engine: next(scores))
    report = run_training(tiny_experiment(root, *CHOOSING), run_dir=tmp_path, run_id=ID)
    assert report.metrics["chosen_step"] == EVENTS[-1] + 2
    assert report.sparsity >= 0.5


@pytest.fixture(scope="module")
def chosen(root):
    """An undisturbed run that chooses by a score that jumps from step to step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Reporter, "held_out", moody(Reporter.held_out))
        folder = root / "chosen"
        yield run_training(tiny_experiment(root, *CHOOSING), run_dir=folder, run_id=ID)


@pytest.mark.parametrize(("crash", "save_every"), [(29, 6), (36, 12)])
def test_a_run_stopped_anywhere_chooses_the_same_weights(root, chosen, tmp_path, crash, save_every):
    config = tiny_experiment(root, *CHOOSING, f"training.save_every={save_every} steps")
    with pytest.raises(CrashError):
        run_training(config, run_dir=tmp_path, run_id=ID, callbacks=[CrashAfter(crash)])
    (tmp_path / "best.safetensors").write_bytes(b"of steps that are lost")
    report = run_training(config, run_dir=tmp_path, run_id=ID)
    assert EVENTS[-1] < chosen.metrics["chosen_step"] < 36, "or this test shows nothing"
    assert report.metrics == chosen.metrics
    assert_same(outcome(tmp_path), outcome(root / "chosen"))


def test_a_run_killed_while_it_is_summed_up_reports_the_same(root, chosen):
    (root / "chosen" / "best.safetensors").unlink()
    config = tiny_experiment(root, *CHOOSING)
    again = run_training(config, run_dir=root / "chosen", run_id=ID)
    assert again.metrics == chosen.metrics


def test_a_run_that_starts_anew_forgets_an_older_file(root, tmp_path):
    trainer = build_trainer(tiny_experiment(root, *CHOOSING), run_dir=tmp_path, run_id=ID)
    stale = tmp_path / "best.safetensors"
    stale.write_bytes(b"stale")
    trainer.checkpointer.restore_latest(trainer)
    assert not stale.exists()


@pytest.mark.distributed
def test_two_workers_with_partitioned_weights_choose_alike(root, tmp_path):
    tiny_experiment(root)
    arguments: dict[str, Any] = {
        "root": str(root),
        "run_dir": str(tmp_path),
        "overrides": [
            *CHOOSING,
            "training.eval_every=3 steps",
            "distillation.refresh_teacher=true",
            "hardware.num_workers=2",
            "hardware.engine=deepspeed",
            "hardware.zero_stage=3",
        ],
    }
    one, other = run_workers(run_capricious, num_workers=2, **arguments)
    assert one == other
    assert EVENTS[-1] <= one["chosen_step"] < 36
    assert one["metric"] == one["measured"]

"""Models that write text: one-shot pruning, little memory, interruptions, several workers."""

from typing import Any

import pytest
import torch

from apt_core.trainer.build import build_trainer, run_training
from tests.nightly import BETWEEN
from tests.reference.family_cases import run_families
from tests.reference.training_cases import ID, CrashAfter, CrashError, assert_same, logged, outcome
from tests.spawn import run_workers
from tests.tiny_families import EVENTS, TOTAL_STEPS, family_experiment

CASES = (("llama", "instruction"), ("t5-gated", "summarization"))
"""(family, kind of task); the labels of both differ in length from row to row."""
ONE_SHOT = ("pruning.pre_tuning_sparsity=0.3", "pruning.calibration_batches=4")
LITTLE_MEMORY = ("hardware.gradient_checkpointing=true", "training.micro_batch_size=4")


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case[0])
def case(request):
    return request.param


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("families")


@pytest.fixture(scope="module")
def undisturbed(root, case):
    """A run with everything: its report and its folder."""
    config = family_experiment(root, *case, *ONE_SHOT, *LITTLE_MEMORY)
    folder = root / f"whole-{case[0]}"
    return run_training(config, run_dir=folder, run_id=ID), folder


def test_one_shot_pruning_comes_first_and_the_events_go_on_from_there(undisturbed):
    report, folder = undisturbed
    pruned = {s["step"]: s["sparsity"] for s in report.surgeries if s["pruned"]}
    assert list(pruned) == [0, *EVENTS]
    assert 0.3 <= pruned[0] < 0.4
    assert 0.5 <= pruned[EVENTS[-1]] == report.sparsity < 0.6
    assert logged(folder, "model/sparsity")[1] == pruned[0]


MOMENTS = {
    "right after one-shot pruning": (2, 1),
    "before the first checkpoint": (2, 6),
    "inside a decay window": (EVENTS[1] - 1, 1),
}
"""Step to stop after, and steps between checkpoints."""


@pytest.mark.parametrize(("step", "save_every"), MOMENTS.values(), ids=MOMENTS)
def test_a_stopped_run_ends_bit_identical(root, case, undisturbed, step, save_every, tmp_path):
    config = family_experiment(
        root, *case, *ONE_SHOT, *LITTLE_MEMORY, f"training.save_every={save_every} steps"
    )
    with pytest.raises(CrashError):
        run_training(config, run_dir=tmp_path, run_id=ID, callbacks=[CrashAfter(step)])
    run_training(config, run_dir=tmp_path, run_id=ID)
    assert_same(outcome(tmp_path), outcome(undisturbed[1]))


def three_steps(root, case, folder, *overrides):
    """Losses, gradient norms, trained weights and label counts of three steps, nothing clipped."""
    # With so large an eps AdamW follows the gradient, not only its sign.
    settings = ["training.eps=1", "training.max_grad_norm=1e6", "training.warmup=0 steps"]
    settings += ["training.learning_rate=0.1", "model.dropout=0", *overrides]
    config = family_experiment(root, *case, *settings)
    trainer = build_trainer(config, run_dir=folder, run_id=ID)
    engine = trainer.make_engine(trainer.modules, None)
    batches = trainer.batches(0)
    losses, norms, label_counts = [], [], []
    for trainer.state.step in range(3):
        batch = next(batches)
        metrics = trainer.train_step(engine, batch)
        losses.append(metrics["train/loss"])
        norms.append(metrics["train/grad_norm"])
        label_counts += [int((part["labels"] != -100).sum()) for part in batch]
    trained = {n: p.detach() for n, p in trainer.modules.named_parameters() if p.requires_grad}
    return losses, norms, trained, label_counts


def test_micro_batches_with_unequal_label_counts_train_like_one_batch(root, case, tmp_path):
    losses, norms, weights, _ = three_steps(root, case, tmp_path / "whole")
    found = three_steps(root, case, tmp_path / "parts", "training.micro_batch_size=2")
    counts = found[3]
    assert len(counts) == 12
    assert len({*counts[:4]}) > 1
    assert found[0] == pytest.approx(losses, rel=1e-6)
    assert found[1] == pytest.approx(norms, rel=5e-6)  # a root of many fp32 roundings
    assert found[2].keys() == weights.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(found[2][name], weight, rtol=0, atol=1e-6)
    moved = [w.abs().max() for n, w in weights.items() if n.endswith("lora_b")]
    assert max(moved, default=0) > 1e-3


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """Runs without dropout: only then do engines and worker counts compute the same."""
    root = tmp_path_factory.mktemp("quiet")
    arguments: dict[str, Any] = {"root": str(root), "cases": list(CASES)}
    return arguments, run_families(**arguments, run_dir=str(root / "reference"), overrides=[])


def assert_same_runs(results, expected, loss):
    assert results.keys() == expected.keys() == dict(CASES).keys()
    for family, result in results.items():
        reference = expected[family]
        assert result["decisions"] == reference["decisions"]
        assert any(d["hidden_size"] or d["heads"] for d in reference["decisions"])
        found, wanted = dict(result["metrics"]), dict(reference["metrics"])
        assert found.pop("loss") == pytest.approx(wanted.pop("loss"), abs=loss)
        assert found == pytest.approx(wanted, abs=1e-6)


@pytest.mark.distributed
def test_two_workers_decide_and_write_what_one_does(quiet, tmp_path):
    arguments, expected = quiet
    overrides = ["hardware.num_workers=2"]
    results = run_workers(run_families, **arguments, run_dir=str(tmp_path), overrides=overrides)
    for result in results:
        # Each worker pads to its own longest row, and hidden states are compared on padding too.
        assert_same_runs(result, expected, loss=0.01)


@pytest.mark.parametrize("zero_stage", [BETWEEN[-1], pytest.param(3, marks=pytest.mark.slow)])
def test_under_zero_runs_decide_and_write_like_in_plain_pytorch(zero_stage, quiet, tmp_path):
    arguments, expected = quiet
    overrides = ["hardware.engine=deepspeed", f"hardware.zero_stage={zero_stage}"]
    (results,) = run_workers(
        run_families, num_workers=1, **arguments, run_dir=str(tmp_path), overrides=overrides
    )
    assert_same_runs(results, expected, loss=1e-4)


PRECISE = {
    "llama": "instruction",
    "t5": "classification",
    "roberta": "regression",
}


@pytest.mark.parametrize(("family", "kind"), PRECISE.items())
def test_in_bf16_a_run_reaches_its_sparsity_with_finite_losses(root, family, kind, tmp_path):
    config = family_experiment(root, family, kind, "hardware.precision=bf16")
    report = run_training(config, run_dir=tmp_path, run_id=ID)
    losses = logged(tmp_path, "train/loss")
    assert len(losses) == TOTAL_STEPS
    assert torch.tensor(list(losses.values())).isfinite().all()
    assert 0.5 <= report.sparsity < 0.6

"""Whole runs of the arms with L0 gates: they meet the budget, resume exactly, and agree."""

from pathlib import Path
from typing import Any

import pytest
import torch

from apt_core.trainer.build import run_training
from tests.nightly import TORCH, nightly
from tests.reference.training_cases import (
    ID,
    CrashAfter,
    CrashError,
    assert_same,
    logged,
    outcome,
    run_arms,
)
from tests.spawn import run_workers
from tests.tiny_families import family_experiment
from tests.tiny_run import DISTILL_STOP, TOTAL_STEPS, tiny_experiment

ARMS = ("prune_distill", "lora_prune_distill")
START, STOP = 6, 24


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gates")


@pytest.fixture(scope="module", params=ARMS)
def arm(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def undisturbed(root: Path, arm: str):
    folder = root / arm
    config = tiny_experiment(root, f"arm={arm}", "training.micro_batch_size=4")
    return run_training(config, run_dir=folder, run_id=ID), folder


def test_a_run_ends_at_its_target_and_trains_to_its_end(undisturbed, arm: str) -> None:
    report, folder = undisturbed
    assert report.arm == arm
    assert 0.5 <= report.sparsity <= 0.51
    losses = torch.tensor(list(logged(folder, "train/loss").values()))
    assert len(losses) == TOTAL_STEPS
    assert losses.isfinite().all()


def test_gates_and_teacher_come_and_go_at_their_steps(undisturbed) -> None:
    report, folder = undisturbed
    surgeries = {s["step"]: (s["pruned"], s["has_teacher"]) for s in report.surgeries}
    assert surgeries == {START: (False, True), STOP: (True, True), DISTILL_STOP: (False, False)}
    assert set(logged(folder, "train/expected_sparsity")) == set(range(START + 1, STOP + 1))
    distilled = [s for s, loss in logged(folder, "train/loss_distill").items() if loss > 0]
    assert distilled == list(range(START + 1, DISTILL_STOP + 1))
    sparsity = logged(folder, "model/sparsity")
    assert sparsity[STOP - 1] == 0.0
    assert sparsity[STOP] == report.sparsity


def test_only_one_arm_trains_all_weights(undisturbed, arm: str) -> None:
    report, _ = undisturbed
    trained = report.efficiency.num_trainable_params_peak
    # The gates of 16 heads, 96 neurons, 8 sub-blocks and 16 dimensions, and two multipliers.
    assert trained > 138
    assert (trained > 2 * report.efficiency.num_layer_params) == (arm == "prune_distill")


MOMENTS = {
    "before the gates": (4, 6),
    "when the gates come": (START, 6),
    "while they learn": (START + 8, 1),
    "at the last step with gates": (STOP - 1, 1),
    "when they are cut": (STOP, 6),
    "behind the cut, with a teacher": (STOP + 2, 1),
    "when the teacher is dropped": (DISTILL_STOP, 1),
    "near the end": (35, 6),
}
"""Step to stop after, and steps between checkpoints."""


@pytest.mark.parametrize(("step", "save_every"), MOMENTS.values(), ids=MOMENTS)
def test_a_run_stopped_anywhere_ends_bit_identical(
    root: Path, arm: str, undisturbed, step: int, save_every: int, tmp_path: Path
) -> None:
    settings = (f"arm={arm}", "training.micro_batch_size=4")
    config = tiny_experiment(root, *settings, f"training.save_every={save_every} steps")
    with pytest.raises(CrashError):
        run_training(config, run_dir=tmp_path, run_id=ID, callbacks=[CrashAfter(step)])
    run_training(config, run_dir=tmp_path, run_id=ID)
    assert_same(outcome(tmp_path), outcome(undisturbed[1]))


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """Runs without dropout: only then do engines and worker counts compute the same."""
    root = str(tmp_path_factory.mktemp("quiet"))
    arguments: dict[str, Any] = {"root": root, "arms": list(ARMS)}
    return arguments, run_arms(**arguments, run_dir=root, overrides=[])


def assert_same_decisions(results: dict[str, Any], expected: dict[str, Any]) -> None:
    for arm in ARMS:
        assert results[arm]["decisions"] == expected[arm]["decisions"]
        assert 0.5 <= results[arm]["sparsity"] <= 0.51


@pytest.mark.distributed
@pytest.mark.parametrize("engine", [TORCH, pytest.param("deepspeed", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "trained", [ARMS[0], pytest.param(ARMS[1], marks=nightly("the arm that trains more by day"))]
)
def test_two_workers_draw_alike_and_decide_alike(
    quiet, engine: str, trained: str, tmp_path: Path
) -> None:
    arguments = {**quiet[0], "arms": [trained]}
    overrides = ["hardware.num_workers=2", f"hardware.engine={engine}", "hardware.zero_stage=3"]
    one, two = run_workers(run_arms, **arguments, run_dir=str(tmp_path), overrides=overrides)
    assert one == two
    assert 0.5 <= one[trained]["sparsity"] <= 0.51
    alone = logged(Path(arguments["root"]) / trained, "train/expected_sparsity")
    together = logged(tmp_path / trained, "train/expected_sparsity")
    # Not equal: every worker pads to its own longest row, and the layer loss counts padding.
    steps = range(START + 1, START + 6)
    assert [together[s] for s in steps] == pytest.approx([alone[s] for s in steps], abs=0.01)


@nightly("two workers under ZeRO-3 by day")
@pytest.mark.parametrize("zero_stage", [1, 2, 3])
def test_under_zero_they_decide_what_plain_torch_does(
    quiet, zero_stage: int, tmp_path: Path
) -> None:
    arguments, expected = quiet
    overrides = ["hardware.engine=deepspeed", f"hardware.zero_stage={zero_stage}"]
    (results,) = run_workers(
        run_arms, num_workers=1, **arguments, run_dir=str(tmp_path), overrides=overrides
    )
    assert_same_decisions(results, expected)


WRITERS = (("llama", "instruction"), ("t5-gated", "summarization"), ("distilbert", "qa"))


@pytest.mark.parametrize(("family", "kind"), WRITERS, ids=[family for family, _ in WRITERS])
def test_other_families_meet_their_target_and_resume(
    root: Path, arm: str, family: str, kind: str, tmp_path: Path
) -> None:
    settings = (f"arm={arm}", "training.save_every=1 steps")
    config = family_experiment(root, family, kind, *settings)
    report = run_training(config, run_dir=tmp_path / "whole", run_id=ID)
    with pytest.raises(CrashError):  # behind the cut, while the teacher is still there
        run_training(config, run_dir=tmp_path / "cut", run_id=ID, callbacks=[CrashAfter(15)])
    run_training(config, run_dir=tmp_path / "cut", run_id=ID)
    assert_same(outcome(tmp_path / "cut"), outcome(tmp_path / "whole"))
    assert 0.5 <= report.sparsity <= 0.51


def test_given_steps_the_lagrangian_reaches_its_target_within_a_point(root, tmp_path) -> None:
    config = tiny_experiment(
        root,
        "arm=lora_prune_distill",
        "training.max_steps=260",
        "training.lr_schedule=constant",
        "training.eval_every=100%",
        "training.save_every=100%",
        "pruning.start=20",
        "pruning.warmup=80",
        "pruning.stop=240",
        "distillation.stop=240 steps",
        "distillation.distill_loss_weight_start=0.5",
        "distillation.distill_loss_weight_end=0.5",
    )
    report = run_training(config, run_dir=tmp_path, run_id=ID)
    expected = logged(tmp_path, "train/expected_sparsity")
    assert expected[21] < 0.05
    assert [expected[s] for s in range(231, 241)] == pytest.approx([0.5] * 10, abs=0.01)
    assert 0.5 <= report.sparsity <= 0.51


def test_recomputed_activations_see_the_same_draw(root, arm: str, undisturbed, tmp_path) -> None:
    settings = (f"arm={arm}", "training.micro_batch_size=4", "hardware.gradient_checkpointing=true")
    run_training(tiny_experiment(root, *settings), run_dir=tmp_path, run_id=ID)
    assert_same(outcome(tmp_path), outcome(undisturbed[1]))


def test_in_bf16_a_run_reaches_its_target_with_finite_losses(root, arm: str, tmp_path) -> None:
    config = tiny_experiment(root, f"arm={arm}", "hardware.precision=bf16")
    report = run_training(config, run_dir=tmp_path, run_id=ID)
    losses = torch.tensor(list(logged(tmp_path, "train/loss").values()))
    assert len(losses) == TOTAL_STEPS
    assert losses.isfinite().all()
    assert 0.5 <= report.sparsity <= 0.51

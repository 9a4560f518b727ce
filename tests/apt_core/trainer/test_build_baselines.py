"""What of the configuration reaches mask tuning, and whole runs of its arm."""

import pytest
import torch

from apt_core.config.plan import plan_training
from apt_core.pruner.search import Floors
from apt_core.trainer import build_method as method
from apt_core.trainer import build_parts as parts
from apt_core.trainer.build import run_training
from apt_core.trainer.build_baselines import build_mask_tuner
from apt_core.trainer.calibration import Calibration
from apt_core.trainer.one_shot_controller import OneShotController
from tests.nightly import TORCH
from tests.reference.training_cases import (
    ID,
    CrashAfter,
    CrashError,
    assert_same,
    decisions,
    logged,
    outcome,
    run_tiny,
)
from tests.spawn import run_workers
from tests.tiny_families import family_experiment
from tests.tiny_run import EVENTS, TOTAL_STEPS, tiny_experiment

CUT = EVENTS[-1]
"""pruning.stop of the tiny run."""
ARM = ("arm=lora_prune", "pruning.calibration_batches=6", "pruning.calibration_batch_size=8")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("lora_prune")


@pytest.fixture(scope="module")
def undisturbed(root):
    """The arm's tiny run: its report and its folder."""
    folder = root / "whole"
    return run_training(tiny_experiment(root, *ARM), run_dir=folder, run_id=ID), folder


def test_settings_reach_the_mask_tuner(root) -> None:
    config = tiny_experiment(
        root, *ARM, "pruning.target_sparsity=0.3", "pruning.min_heads=1", "pruning.round_to=2"
    )
    loaded = parts.load_task_model(config)
    tuner = build_mask_tuner(config, loaded, Calibration(list, CPU))
    assert tuner.density == pytest.approx(0.7)
    assert tuner.floors == Floors(min_heads=1, min_hidden=4, round_to=2)
    assert tuner.original.num_params() == loaded.structure.num_params()
    assert not tuner.calibration.half
    half = build_mask_tuner(config, loaded, Calibration(list, CPU, half=True))
    assert half.calibration.half
    assert half.rescaler is not None
    assert half.rescaler.half


@pytest.mark.parametrize(
    ("family", "kind", "given", "rescales"),
    [
        ("bert", "classification", "null", True),
        ("bert", "classification", "false", False),
        ("t5-gated", "classification", "null", False),
        ("llama", "instruction", "null", False),
        ("llama", "instruction", "true", True),
    ],
)
def test_encoders_are_rescaled_unless_configured(tmp_path, family, kind, given, rescales) -> None:
    config = family_experiment(tmp_path, family, kind, *ARM, f"pruning.rescale={given}")
    tuner = build_mask_tuner(config, parts.load_task_model(config), Calibration(list, CPU))
    assert (tuner.rescaler is not None) == rescales


def test_the_arm_cuts_once_at_the_stop_of_pruning_and_measures_no_salience(root) -> None:
    config = tiny_experiment(root, *ARM, "pruning.pre_tuning_sparsity=0.3")
    loaded = parts.load_task_model(config)
    structure = parts.adapt(config, loaded)
    plan = plan_training(config, 96)
    distiller = method.build_distiller(config, plan, loaded, structure)
    common = (config, plan, loaded, structure, distiller)
    controller = method.build_controller(*common, calibration=Calibration(list, CPU))
    assert isinstance(controller, OneShotController)
    assert controller.step == CUT
    assert method.build_salience(config, loaded, structure) is None
    # One-shot pruning before training is another method's.
    assert method.build_one_shot(config, loaded, structure, Calibration(list, CPU)) is None


def test_adapters_are_where_lora_has_them(root) -> None:
    trained = []
    for arm in ("lora", "lora_prune"):
        config = tiny_experiment(root, f"arm={arm}")
        loaded = parts.load_task_model(config)
        parts.adapt(config, loaded)
        trained.append({n for n, p in loaded.model.named_parameters() if p.requires_grad})
    assert trained[0] == trained[1]


def test_a_run_ends_within_a_point_of_its_target(undisturbed) -> None:
    report, folder = undisturbed
    assert 0.5 <= report.sparsity < 0.51
    (surgery,) = report.surgeries
    assert surgery["step"] == CUT
    assert surgery["hidden_size"] == 16
    sparsity = logged(folder, "model/sparsity")
    assert {sparsity[step] for step in range(1, CUT)} == {0.0}
    assert {sparsity[step] for step in range(CUT, TOTAL_STEPS + 1)} == {report.sparsity}


def test_until_the_cut_the_run_is_loras(root, undisturbed, tmp_path) -> None:
    run_training(tiny_experiment(root, "arm=lora"), run_dir=tmp_path, run_id=ID)
    plain, pruned = logged(tmp_path, "train/loss"), logged(undisturbed[1], "train/loss")
    assert [pruned[step] for step in range(1, CUT + 1)] == [
        plain[step] for step in range(1, CUT + 1)
    ]
    assert pruned[CUT + 1] != plain[CUT + 1]


MOMENTS = {
    "before the cut": (CUT - 3, 6),
    "at the cut": (CUT, 1),
    "right after the cut": (CUT + 1, 1),
    "behind a checkpoint of the cut model": (CUT + 5, 2),
}
"""Step to stop after, and steps between checkpoints."""


@pytest.mark.parametrize(("step", "save_every"), MOMENTS.values(), ids=MOMENTS)
def test_a_stopped_run_ends_bit_identical(root, undisturbed, step, save_every, tmp_path) -> None:
    config = tiny_experiment(root, *ARM, f"training.save_every={save_every} steps")
    with pytest.raises(CrashError):
        run_training(config, run_dir=tmp_path, run_id=ID, callbacks=[CrashAfter(step)])
    report = run_training(config, run_dir=tmp_path, run_id=ID)
    assert_same(outcome(tmp_path), outcome(undisturbed[1]))
    assert decisions(report) == decisions(undisturbed[0])


@pytest.mark.distributed
@pytest.mark.parametrize("engine", [TORCH, pytest.param("deepspeed", marks=pytest.mark.slow)])
def test_two_workers_decide_what_one_decides(engine, tmp_path) -> None:
    overrides = [*ARM, "evaluation.measure_efficiency=false"]
    expected = run_tiny(str(tmp_path), str(tmp_path / "one"), overrides)
    overrides += ["hardware.num_workers=2", f"hardware.engine={engine}", "hardware.zero_stage=2"]
    run_dir = str(tmp_path / "two")
    results = run_workers(run_tiny, root=str(tmp_path), run_dir=run_dir, overrides=overrides)
    assert len(results) == 2
    assert any(decision["heads"] for decision in expected["decisions"])
    for result in results:
        assert result["decisions"] == expected["decisions"]
        assert result["metric"] == expected["metric"]


@pytest.mark.parametrize(
    ("family", "kind"),
    [
        ("bert", "qa"),
        ("distilbert", "regression"),
        ("t5-gated", "summarization"),
        ("llama", "instruction"),
        ("qwen3", "classification"),
    ],
)
def test_every_family_reaches_its_target(family, kind, tmp_path) -> None:
    config = family_experiment(tmp_path, family, kind, *ARM, "pruning.target_sparsity=0.5")
    report = run_training(config, run_dir=tmp_path / "run", run_id=ID)
    assert 0.5 <= report.sparsity < 0.51

"""Arm `llm_pruner` as a whole run: cut before the first step, LoRA everywhere, resume, workers."""

import json
from typing import Any

import pytest
import torch

from apt_core.config.plan import NO_EVENTS, plan_training
from apt_core.errors import UnsupportedModelError
from apt_core.trainer import build_method as method
from apt_core.trainer import build_parts as parts
from apt_core.trainer.build import build_trainer, run_training
from apt_core.trainer.calibration import Calibration
from apt_core.trainer.controller import FixedController
from tests.reference.family_cases import run_family
from tests.reference.training_cases import ID, CrashAfter, CrashError, assert_same, outcome
from tests.spawn import run_workers
from tests.tiny_families import family_experiment

ARM = ("arm=llm_pruner", "pruning.calibration_batches=2", "pruning.calibration_batch_size=5")
CASE = ("llama", "instruction")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("llm_pruner")


@pytest.fixture(scope="module")
def undisturbed(root):
    config = family_experiment(root, *CASE, *ARM)
    return run_training(config, run_dir=root / "whole", run_id=ID), root / "whole"


def test_the_run_ends_within_a_point_of_its_target(undisturbed):
    report, _ = undisturbed
    assert 0.5 <= report.sparsity < 0.51
    assert report.warnings == ()
    assert report.cost_unit == "parameters"
    assert (report.cost, report.cost_sparsity) == (
        report.efficiency.num_layer_params,
        report.sparsity,
    )


def test_the_model_has_its_final_shape_before_the_first_step(undisturbed):
    report, folder = undisturbed
    (surgery,) = report.surgeries
    assert (surgery["step"], surgery["pruned"], surgery["hidden_size"]) == (0, True, 16)
    assert {point.sparsity for point in report.history} == {report.sparsity}
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    assert {line["values"]["model/sparsity"] for line in lines} == {report.sparsity}


def test_every_projection_of_every_layer_is_adapted_and_nothing_is_decided(root):
    config = family_experiment(root, *CASE, *ARM, "model.adapter.apply_to_ffn=false")
    loaded = parts.load_task_model(config)
    structure = parts.adapt(config, loaded)
    projections = {p.path for s in loaded.model_map.sub_blocks for p in s.projections}
    assert structure.ranks == dict.fromkeys(projections, 2)
    assert len(projections) == 7 * 3
    plan = plan_training(config, 48)
    assert plan.prune is NO_EVENTS
    distiller = method.build_distiller(config, plan, loaded, structure)
    controller = method.build_controller(
        config,
        plan,
        loaded,
        structure,
        distiller,
        calibration=Calibration(list, torch.device("cpu")),
    )
    assert isinstance(controller, FixedController)
    assert method.build_salience(config, loaded, structure) is None


def test_settings_reach_the_pruner(root, tmp_path):
    overrides = ("pruning.protect_first_layers=1", "pruning.min_heads=2", "pruning.round_to=2")
    config = family_experiment(
        root, *CASE, *ARM, *overrides, "hardware.gradient_checkpointing=true"
    )
    pruner = build_trainer(config, run_dir=tmp_path, run_id=ID).one_shot
    assert (pruner.layers, pruner.density, pruner.at_once) == (range(1, 3), 0.5, 1)
    assert (pruner.floors.min_heads, pruner.floors.round_to) == (2, 2)
    assert [len(batch["input_ids"]) for batch in pruner.calibration.batches()] == [5, 5]


@pytest.mark.parametrize(("step", "save_every"), [(2, 6), (7, 3)])
def test_a_stopped_run_ends_bit_identical(root, undisturbed, step, save_every, tmp_path):
    config = family_experiment(root, *CASE, *ARM, f"training.save_every={save_every} steps")
    with pytest.raises(CrashError):
        run_training(config, run_dir=tmp_path, run_id=ID, callbacks=[CrashAfter(step)])
    run_training(config, run_dir=tmp_path, run_id=ID)
    assert_same(outcome(tmp_path), outcome(undisturbed[1]))


def test_a_model_with_an_encoder_is_refused(root, tmp_path):
    config = family_experiment(root, "t5", "instruction", *ARM)
    with pytest.raises(UnsupportedModelError, match="arm: llm_pruner is for decoders"):
        build_trainer(config, run_dir=tmp_path, run_id=ID)


@pytest.mark.distributed
def test_two_workers_decide_what_one_does(tmp_path):
    arguments: dict[str, Any] = {"root": str(tmp_path), "family": CASE[0], "kind": CASE[1]}
    overrides = [*ARM, "training.max_steps=4"]
    alone = run_family(**arguments, run_dir=str(tmp_path / "one"), overrides=overrides)
    results = run_workers(
        run_family,
        **arguments,
        run_dir=str(tmp_path / "two"),
        overrides=[*overrides, "hardware.num_workers=2"],
    )
    for result in results:
        assert result["decisions"] == alone["decisions"]
        assert result["sparsity"] == alone["sparsity"]

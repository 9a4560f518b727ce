"""Trainings that stand in their phases, over shared weights, at the density asked for."""

import json
from dataclasses import replace

import pytest
import torch

from apt_core.adapters.linear import APTLinear
from apt_core.bench.flops import Rows
from apt_core.bench.phases import CONTROL, PHASES, PLAIN, RETRAINING, TUNING, Phase
from apt_core.config import config_to_json
from apt_core.errors import ConfigError, UnsupportedModelError
from apt_core.trainer.build_bench import RigBuilder, longest_row, measure_phase
from apt_core.trainer.build_bench_config import bench_config
from tests.tiny import tiny_model
from tests.tiny_bench import SETTINGS, tiny_builder
from tests.tiny_run import tiny_experiment


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def builder(root):
    return tiny_builder(root)


def facts_of(rig) -> dict[str, bool]:
    """What a phase is known by, now."""
    trainer = rig.trainer
    masks = trainer.controller.masks
    return {
        "salience": trainer.controller.needs_salience(trainer.state.step),
        "teacher": rig.has_teacher,
        "masks": masks is not None and masks.is_open,
        "cut": rig.density < 1,
    }


def expected_of(phase: Phase) -> dict[str, bool]:
    return {
        "salience": phase.reads_salience,
        "teacher": phase.distils,
        "masks": phase.reads_salience,
        "cut": phase.is_pruned,
    }


@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.name)
def test_a_rig_is_in_its_phase_for_all_of_its_steps(builder: RigBuilder, phase: Phase) -> None:
    rig = builder.rig(phase)
    assert rig.density <= 1
    for _ in range(SETTINGS.num_steps):
        rig.step()
        assert facts_of(rig) == expected_of(phase)
    if phase.is_pruned:
        assert 0.34 < rig.density <= 0.4


@pytest.mark.parametrize("density", [0.25, 0.7])
def test_the_density_is_the_one_asked_for(root, density: float) -> None:
    builder = tiny_builder(root, settings=replace(SETTINGS, density=density))
    rig = builder.rig(RETRAINING)
    assert density - 0.06 < rig.density <= density
    assert rig.structure.num_params() == sum(
        p.numel()
        for name, p in rig.student.named_parameters()
        if "encoder.layer" in name and "lora" not in name
    )


def test_all_phases_are_cut_by_one_table_of_latencies_and_other_settings_by_another(root) -> None:
    overrides = ("pruning.constraint=latency_ms", "evaluation.latency_repeats=1")
    table = root / "latency.json"
    first = tiny_builder(root, *overrides)
    first.rig(RETRAINING)
    written = table.read_text()
    first.rig(TUNING)
    assert table.read_text() == written
    other = tiny_builder(root, *overrides, "pruning.constraint_length=7")
    assert other.rig(RETRAINING).density < 1
    assert json.loads(table.read_text())["run_id"] != json.loads(written)["run_id"]


def test_rigs_share_frozen_weights_and_no_others(builder: RigBuilder) -> None:
    first, second = builder.rig(CONTROL), builder.rig(TUNING)
    ours = dict(first.student.named_parameters())
    theirs = dict(second.student.named_parameters())
    for name in ours.keys() & theirs.keys():
        assert (ours[name] is theirs[name]) == (not ours[name].requires_grad)
    before = {name: p.detach().clone() for name, p in theirs.items()}
    first.step()
    assert all(torch.equal(p, before[name]) for name, p in theirs.items())
    moved = [n for n, p in ours.items() if n in before and not torch.equal(p, before[n])]
    assert moved  # it did learn


def test_full_tuning_has_weights_of_its_own(root) -> None:
    builder = tiny_builder(root, "arm=ft")
    base = {id(p) for p in builder.loaded.model.parameters()}
    assert not base & {id(p) for p in builder.rig(PLAIN).student.parameters()}


def test_the_control_has_adapters_on_queries_and_values_only(builder: RigBuilder) -> None:
    student = builder.rig(CONTROL).student
    adapted = [n for n, m in student.named_modules() if isinstance(m, APTLinear) and m.rank > 0]
    assert len(adapted) == 8
    assert all(name.endswith(("query", "value")) for name in adapted)


def test_micro_batches_are_those_of_the_configuration(root) -> None:
    rig = tiny_builder(root, "training.micro_batch_size=2").rig(TUNING)
    (batch,) = (next(rig.trainer.batches(0)),)
    assert [len(micro["labels"]) for micro in batch] == [2, 2]


def test_a_phase_alone_takes_the_model_itself_and_less_memory_when_it_is_cut(root) -> None:
    config = config_to_json(bench_config(tiny_experiment(root), SETTINGS))
    control, retraining = (
        measure_phase(config, SETTINGS, root, phase) for phase in (CONTROL, RETRAINING)
    )
    assert 0 < retraining.tensors_gib < control.tensors_gib
    builder = tiny_builder(root)
    assert builder.rig(TUNING, is_alone=True).student is builder.loaded.model


def test_random_weights_need_a_config_and_nothing_else(root, tmp_path) -> None:
    folder = tmp_path / "shape"
    folder.mkdir()
    tiny_experiment(root)
    (folder / "config.json").write_text((root / "model" / "config.json").read_text())
    overrides = f"model.architectures.tiny={folder}"
    with pytest.raises(UnsupportedModelError, match="cannot load the model"):
        tiny_builder(root, overrides)
    builder = tiny_builder(root, overrides, settings=replace(SETTINGS, random_weights=True))
    assert builder.rig(RETRAINING).density <= 0.4
    (folder / "config.json").unlink()
    with pytest.raises(UnsupportedModelError, match="cannot load the config"):
        tiny_builder(root, overrides, settings=replace(SETTINGS, random_weights=True))


def test_rows_are_no_longer_than_the_model_can_read(root, builder: RigBuilder) -> None:
    # 40 positions, of which RoBERTa leaves out two; 128 tokens become 38.
    assert builder.inference_rows == (Rows(1, 38), Rows(32, 38))
    with pytest.raises(ConfigError, match=r"--seq-len: .* 38 tokens, got 39"):
        tiny_builder(root, settings=replace(SETTINGS, seq_len=39))


@pytest.mark.parametrize(
    ("family", "longest"), [("bert", 40), ("roberta", 38), ("t5", float("inf"))]
)
def test_only_tables_of_positions_end(family: str, longest: float) -> None:
    assert longest_row(tiny_model(family)[0]) == longest


def test_facts_name_versions_and_hardware(builder: RigBuilder) -> None:
    facts = builder.facts()
    assert facts["device"] == "cpu"
    assert facts["engine"] == "torch"

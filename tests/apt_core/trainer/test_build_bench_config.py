"""Which arms can be timed, and what of a configuration is changed for it."""

import pytest

from apt_core.bench.phases import (
    CONTROL,
    PHASES,
    PLAIN,
    PRUNING,
    RETRAINING,
    TUNING,
)
from apt_core.bench.settings import BenchSettings
from apt_core.config import load_config, plan_training
from apt_core.errors import ConfigError
from apt_core.trainer.build_bench_config import bench_config, in_phase, phases_of, with_settings

SETTINGS = BenchSettings(batch_size=16, density=0.3, repeats=4, warmup=2)
UNTAUGHT = (CONTROL, TUNING, PRUNING, RETRAINING)


@pytest.mark.parametrize(
    ("arm", "ablation", "expected"),
    [
        ("apt", "full", PHASES),
        ("random", "full", PHASES),
        ("apt", "w/o_AT", PHASES),
        ("apt", "w/o_Ds", UNTAUGHT),
        ("apt", "w/o_AT+Ds", UNTAUGHT),
        ("lora", "full", (CONTROL, PLAIN)),
        ("ft", "full", (CONTROL, PLAIN)),
    ],
)
def test_an_arm_has_the_phases_that_it_goes_through(arm, ablation, expected) -> None:
    config = load_config([], [f"arm={arm}", f"ablation={ablation}"])
    assert phases_of(config) == expected


@pytest.mark.parametrize(
    ("arm", "ablation"),
    [
        ("lora_prune", "full"),
        ("prune_distill", "full"),
        ("llm_pruner", "full"),
        ("apt", "w/o_Ap"),
        ("apt", "ft_teacher"),
    ],
)
def test_others_are_refused(arm, ablation) -> None:
    config = load_config([], [f"arm={arm}", f"ablation={ablation}"])
    with pytest.raises(ConfigError, match=f"arm: {arm}.*does not go through"):
        phases_of(config)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("hardware.num_workers=2", "hardware.num_workers"),
        ("hardware.zero_stage=3", "hardware.zero_stage"),
        ("training.micro_batch_size=5", "training.batch_size"),
    ],
)
def test_what_one_process_cannot_do_is_refused(override, message) -> None:
    config = load_config([], [override, "training.batch_size=30"])
    with pytest.raises(ConfigError, match=message):
        bench_config(config, SETTINGS)


def test_sizes_are_those_that_are_asked_for_and_nothing_comes_between_steps() -> None:
    config = load_config([], ["mode=paper", "pruning.pre_tuning_sparsity=0.5", "arm=apt"])
    found = bench_config(config, SETTINGS)
    assert found.training.batch_size == 16
    assert found.pruning.target_sparsity == 0.7
    assert found.pruning.pre_tuning_sparsity == 0.0
    plan = plan_training(in_phase(found, TUNING, 5)[0], 16)
    assert min(plan.eval_every, plan.save_every, plan.log_every) > plan.total_steps


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.name)
def test_every_timetable_is_a_valid_configuration(phase, precision) -> None:
    more = [
        "hardware.gpus_per_worker=1",
        "pruning.update_frequency=5",
        "distillation.start_event=1",
    ]
    config = load_config([], [f"hardware.precision={precision}", *more])
    found, lead = in_phase(bench_config(config, SETTINGS), phase, SETTINGS.num_steps)
    plan = plan_training(found, SETTINGS.batch_size)
    assert plan.total_steps > lead + SETTINGS.num_steps
    if phase.is_pruned:
        assert lead >= (20 if precision == "fp16" else 2)
        assert plan.prune.densities == (pytest.approx(0.3),)


def test_the_control_is_lora_on_queries_and_values() -> None:
    adapted = ["model.adapter.mha_components=[k_proj]", "ablation=w/o_AT"]
    config = bench_config(load_config([], adapted), SETTINGS)
    control, _ = in_phase(config, CONTROL, 3)
    assert (control.arm, control.ablation) == ("lora", "full")
    assert control.model.adapter.mha_components == ("q_proj", "v_proj")
    tuning, _ = in_phase(config, TUNING, 3)
    assert (tuning.arm, tuning.ablation) == ("apt", "w/o_AT")
    assert tuning.model.adapter.mha_components == ("k_proj",)


def test_other_values_are_checked_like_the_users() -> None:
    config = load_config()
    assert with_settings(config, {"training.seed": 5}).training.seed == 5
    with pytest.raises(ConfigError, match=r"training\.batch_size"):
        with_settings(config, {"training.batch_size": 0})

"""The timetable of a run, and the schedules that cannot be kept."""

import json

import pytest

from apt_core.config import load_config, plan_training
from apt_core.errors import ConfigError

SST2_ROWS = 67_349
SST2 = ["pruning.warmup=1 epoch"]
SMALL = [
    "training.batch_size=10",
    "training.max_steps=100",
    "pruning.start=0 steps",
    "pruning.stop=40%",
    "pruning.window=5",
    "pruning.mask_step=0.2",
    "pruning.num_events=4",
]


def test_sst2_timetable_is_the_published_one() -> None:
    plan = plan_training(load_config(overrides=SST2), SST2_ROWS)
    assert (plan.steps_per_epoch, plan.total_steps, plan.warmup_steps) == (2105, 84_200, 5052)
    assert (plan.eval_every, plan.save_every, plan.log_every) == (4210, 8420, 20)
    assert plan.distill_stop == 42_100
    times = plan.prune
    assert (times.start, times.warmup, times.stop, times.window) == (200, 2105, 6315, 200)
    assert times.event_steps == (811, 1423, 2034, 2646, 3257, 3869, 4480, 5092, 5703, 6315)
    densities = [1, 1, 1, 0.860, 0.666, 0.536, 0.457, 0.417, 0.402, 0.400]
    assert [round(d, 3) for d in times.densities] == densities
    assert times.scheduler().window_opens(2646 - 199)


def test_small_timetable_by_hand() -> None:
    # 1000 rows / 10 = 100 steps per epoch; events at 10, 20, 30, 40;
    # density 0.4 + 0.6 * (3/4, 2/4, 1/4, 0)^3.
    plan = plan_training(load_config(overrides=SMALL), 1000)
    assert plan.prune.event_steps == (10, 20, 30, 40)
    expected = [0.4 + 0.6 * 27 / 64, 0.475, 0.4 + 0.6 / 64, 0.4]
    assert plan.prune.densities == pytest.approx(expected)
    assert plan.distill_stop == 50


def test_a_remainder_of_the_epoch_is_a_step() -> None:
    assert plan_training(load_config(overrides=SMALL), 95).steps_per_epoch == 10
    assert plan_training(load_config(overrides=SMALL), 3).steps_per_epoch == 1


def test_update_frequency_decides_the_number_of_events() -> None:
    overrides = [*SMALL, "pruning.num_events=null", "pruning.update_frequency=15"]
    times = plan_training(load_config(overrides=overrides), 1000).prune
    # 40 // 15 = 2 events; the curve ends at the last one.
    assert times.event_steps == (15, 30)
    assert times.stop == 30
    assert times.densities == pytest.approx((0.4 + 0.6 / 8, 0.4))


def test_without_pruning_events_remain_and_nothing_is_removed() -> None:
    config = load_config(overrides=[*SMALL, "ablation=w/o_Ap", "pruning.window=9999"])
    times = plan_training(config, 1000).prune
    assert times.event_steps == (10, 20, 30, 40)
    assert times.densities == (1.0, 1.0, 1.0, 1.0)


def test_without_growth_the_events_prune() -> None:
    times = plan_training(load_config(overrides=[*SMALL, "ablation=w/o_AT"]), 1000).prune
    assert times.densities[-1] == pytest.approx(0.4)


@pytest.mark.parametrize("arm", ["ft", "lora"])
def test_plain_arms_have_no_events_whatever_the_pruning_section_says(arm: str) -> None:
    plan = plan_training(load_config(overrides=[f"arm={arm}", "pruning.stop=999 epochs"]), 100)
    assert plan.prune.event_steps == plan.prune.densities == ()
    assert plan.distill_stop == 0


def test_mask_tuning_cuts_once_at_the_stop_of_pruning() -> None:
    # Windows and the number of events are not asked.
    overrides = [*SMALL, "arm=lora_prune", "pruning.window=999", "pruning.num_events=999"]
    plan = plan_training(load_config(overrides=overrides), 1000)
    assert plan.prune.event_steps == (40,)
    assert plan.prune.densities == pytest.approx((0.4,))
    assert plan.prune.window == plan.distill_stop == 0


def test_a_cut_at_the_start_comes_after_the_first_step() -> None:
    overrides = [*SMALL, "arm=lora_prune", "pruning.stop=0 steps"]
    assert plan_training(load_config(overrides=overrides), 1000).prune.event_steps == (1,)


def test_mask_tuning_after_the_end_is_refused() -> None:
    config = load_config(overrides=[*SMALL, "arm=lora_prune", "pruning.stop=101"])
    with pytest.raises(ConfigError, match=r"pruning\.stop: is step 101, after the last step"):
        plan_training(config, 1000)


def test_without_distillation_its_stop_does_not_matter() -> None:
    config = load_config(overrides=[*SMALL, "ablation=w/o_Ds", "distillation.stop=1%"])
    assert plan_training(config, 1000).distill_stop == 0


def test_distillation_ends_with_the_run_at_the_latest() -> None:
    config = load_config(overrides=[*SMALL, "distillation.stop=9 epochs"])
    assert plan_training(config, 1000).distill_stop == 100


def test_intervals_are_at_least_a_step() -> None:
    config = load_config(overrides=[*SMALL, "training.eval_every=0.1%"])
    assert plan_training(config, 1000).eval_every == 1


def test_a_window_as_long_as_the_gap_fits() -> None:
    plan_training(
        load_config(overrides=[*SMALL, "pruning.window=10", "pruning.mask_step=0.1"]), 1000
    )


def test_only_gaps_before_events_that_prune_must_hold_a_window() -> None:
    # Within the warm-up nothing is pruned: with sparsity 0 no window is ever needed.
    plan_training(
        load_config(overrides=[*SMALL, "pruning.target_sparsity=0", "pruning.window=50"]), 1000
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["pruning.window=11"],
            r"pruning\.window: 11 steps are longer than the 10 between .*\"10 steps\"",
        ),
        (
            ["pruning.mask_step=0.1"],
            r"pruning\.window: .*5 steps x mask_step 0\.1 = 0\.5 < 1 .*\"10 steps\" .*0\.2 or more",
        ),
        (["pruning.window=0"], r"pruning\.window: is too short .*\"5 steps\" or longer"),
        (["pruning.stop=101"], r"pruning\.stop: is step 101, after the last step of the run, 100"),
        (
            ["pruning.start=50"],
            r"pruning\.stop: is step 40, not after pruning\.start, which is step 50",
        ),
        (["pruning.warmup=40"], r"pruning\.warmup: 40 steps leave none of the 40"),
        (["pruning.num_events=41"], r"pruning\.num_events: 41 events do not fit into 40 steps"),
        (
            ["pruning.num_events=null", "pruning.update_frequency=41"],
            r"pruning\.update_frequency: no event fits",
        ),
        (["training.warmup=101"], r"training\.warmup: 101 steps are more than the 100"),
        (
            ["distillation.stop=39%"],
            r"distillation\.stop: is step 39, before .* 40 .*\"40%\" or more",
        ),
    ],
)
def test_impossible_schedules_are_told_with_numbers_and_remedy(
    overrides: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_training(load_config(overrides=[*SMALL, *overrides]), 1000)


def test_all_that_is_impossible_is_told_at_once() -> None:
    overrides = [*SMALL, "pruning.window=11", "pruning.mask_step=0.01", "training.warmup=101"]
    with pytest.raises(ConfigError) as error:
        plan_training(load_config(overrides=overrides), 1000)
    assert len(str(error.value).splitlines()) == 3


def test_the_advice_of_a_mask_message_holds() -> None:
    overrides = [*SMALL, "pruning.window=7", "pruning.mask_step=0.01"]
    with pytest.raises(ConfigError) as error:
        plan_training(load_config(overrides=overrides), 1000)
    step = str(error.value).partition("pruning.mask_step to ")[2].split()[0]
    plan_training(load_config(overrides=[*overrides, f"pruning.mask_step={step}"]), 1000)


def test_a_plan_is_json_able() -> None:
    plan = plan_training(load_config(overrides=SMALL), 1000)
    assert json.loads(json.dumps(plan.to_json()))["prune"]["event_steps"] == [10, 20, 30, 40]


GATES = [*SMALL, "arm=prune_distill", "pruning.start=10 steps"]


def test_gates_learn_from_the_start_to_the_one_cut_at_the_stop() -> None:
    config = load_config(overrides=[*GATES, "pruning.warmup=12 steps"])
    plan = plan_training(config, 1000)
    times = plan.prune
    assert (times.start, times.warmup, times.stop, times.event_steps) == (10, 12, 40, (40,))
    assert times.densities == pytest.approx((0.4,))
    assert times.window == 30
    assert plan.distill_stop == 50


def test_gates_begin_behind_the_first_step_at_the_earliest() -> None:
    config = load_config(overrides=[*GATES, "pruning.start=0"])
    assert plan_training(config, 1000).prune.start == 1


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("pruning.stop=10 steps", r"pruning\.stop: is step 10, not after pruning\.start"),
        ("pruning.stop=101 steps", r"pruning\.stop: is step 101, after the last step"),
        ("pruning.warmup=30 steps", r"pruning\.warmup: 30 steps leave none of the 30"),
        ("distillation.stop=39 steps", r"distillation\.stop: is step 39, before pruning ends"),
    ],
)
def test_a_timetable_that_gates_cannot_keep_is_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_training(load_config(overrides=[*GATES, override]), 1000)


def test_events_and_decay_windows_are_nothing_to_gates() -> None:
    ignored = ["pruning.num_events=null", "pruning.update_frequency=90", "pruning.window=1"]
    assert plan_training(load_config(overrides=[*GATES, *ignored]), 1000).prune.stop == 40

"""What each arm switches on."""

from dataclasses import asdict

import pytest

from apt_core.config.arms import Arm, arm_switches


def test_full_fine_tuning_trains_all_weights_and_nothing_else() -> None:
    on = {name for name, value in asdict(arm_switches("ft")).items() if value is True}
    assert on == {"train_all_weights"}


def test_lora_adapts_attention_only() -> None:
    on = {name for name, value in asdict(arm_switches("lora")).items() if value is True}
    assert on == {"adapters"}


@pytest.mark.parametrize(
    ("ablation", "part"), [("w/o_Ap", "prune"), ("w/o_AT", "grow_ranks"), ("w/o_Ds", "distill")]
)
def test_each_ablation_turns_exactly_one_part_off(ablation: str, part: str) -> None:
    full = asdict(arm_switches("apt", "full"))
    ablated = asdict(arm_switches("apt", ablation))  # type: ignore[arg-type]
    assert {name for name in full if full[name] != ablated[name]} == {part}
    assert full[part] is True


def test_without_pruning_and_growth_there_are_no_events() -> None:
    assert not arm_switches("lora").has_events
    assert arm_switches("apt", "w/o_Ap").has_events
    assert arm_switches("apt", "w/o_AT").has_events


def test_only_apt_can_be_ablated() -> None:
    with pytest.raises(KeyError):
        arm_switches("ft", "w/o_Ap")


@pytest.mark.parametrize(
    ("arm", "weights"),
    [("prune_distill", "train_all_weights"), ("lora_prune_distill", "adapters")],
)
def test_gate_arms_prune_and_distil_and_differ_in_what_they_train(arm: Arm, weights: str) -> None:
    switches = arm_switches(arm)
    on = {name for name, value in asdict(switches).items() if value is True}
    assert on == {weights, "prune", "distill"}
    assert switches.pruning_method == "l0_gates"
    assert not switches.measures_salience
    assert not switches.may_refresh_teacher
    assert arm_switches("apt").may_refresh_teacher

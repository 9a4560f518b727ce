"""What each arm switches on."""

from dataclasses import asdict

import pytest

from apt_core.config.arms import arm_switches


def test_full_fine_tuning_trains_all_weights_and_nothing_else() -> None:
    on = {name for name, value in asdict(arm_switches("ft")).items() if value is True}
    assert on == {"train_all_weights"}


def test_lora_adapts_attention_only() -> None:
    on = {name for name, value in asdict(arm_switches("lora")).items() if value is True}
    assert on == {"adapters"}


def test_mask_tuning_is_lora_that_is_cut_once() -> None:
    lora, pruned = asdict(arm_switches("lora")), asdict(arm_switches("lora_prune"))
    assert {name for name in lora if lora[name] != pruned[name]} == {"prune", "pruning_method"}
    assert arm_switches("lora_prune").has_events
    assert not arm_switches("lora_prune").measures_salience


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

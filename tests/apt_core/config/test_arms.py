"""What each arm switches on."""

from dataclasses import asdict
from itertools import product
from typing import Any, get_args

import pytest

from apt_core.config.arms import ABLATION_MEANINGS, Ablation, Arm, arm_switches, is_known

PARTS = ("train_all_weights", "adapters", "ffn_adapters", "prune", "grow_ranks", "distill")


def parts_of(arm: Any, ablation: Any = "full") -> set[str]:
    switches = asdict(arm_switches(arm, ablation))
    return {name for name in PARTS if switches[name]}


def changes(arm: Any, ablation: Any = "full") -> dict[str, object]:
    """What differs from the whole of APT."""
    full, found = asdict(arm_switches("apt")), asdict(arm_switches(arm, ablation))
    return {name: found[name] for name in full if found[name] != full[name]}


def test_full_fine_tuning_trains_all_weights_and_nothing_else() -> None:
    assert parts_of("ft") == {"train_all_weights"}


def test_lora_adapts_attention_only() -> None:
    assert parts_of("lora") == {"adapters"}


def test_llm_pruner_is_lora_everywhere_on_a_decoder_that_is_cut_before_training() -> None:
    switches = asdict(arm_switches("llm_pruner"))
    lora = asdict(arm_switches("lora"))
    assert {name: value for name, value in switches.items() if value != lora[name]} == {
        "prune": True,
        "pruning_method": "before_training",
        "adapt_all_linears": True,
        "decoder_only": True,
    }
    assert not arm_switches("llm_pruner").measures_salience


def test_mask_tuning_is_lora_that_is_cut_once() -> None:
    lora, pruned = asdict(arm_switches("lora")), asdict(arm_switches("lora_prune"))
    assert {name for name in lora if lora[name] != pruned[name]} == {"prune", "pruning_method"}
    assert arm_switches("lora_prune").has_events
    assert not arm_switches("lora_prune").measures_salience


@pytest.mark.parametrize(
    ("ablation", "part"), [("w/o_Ap", "prune"), ("w/o_AT", "grow_ranks"), ("w/o_Ds", "distill")]
)
def test_each_ablation_turns_exactly_one_part_off(ablation: str, part: str) -> None:
    assert changes("apt", ablation) == {part: False}
    assert part in parts_of("apt")


def test_the_three_parts_of_apt_make_a_whole_factorial_grid() -> None:
    names = [
        *("full", "w/o_Ap", "w/o_AT", "w/o_Ds"),
        *("w/o_Ap+AT", "w/o_Ap+Ds", "w/o_AT+Ds", "w/o_Ap+AT+Ds"),
    ]
    found = {name: frozenset(changes("apt", name)) for name in names}
    assert len(set(found.values())) == 8
    spelled = {"Ap": "prune", "AT": "grow_ranks", "Ds": "distill"}
    for name, off in found.items():
        letters = name.removeprefix("w/o_").split("+") if name != "full" else []
        assert off == {spelled[letter] for letter in letters}
        assert set(changes("apt", name).values()) <= {False}


@pytest.mark.parametrize(
    ("ablation", "expected"),
    [
        ("w/o_salience", {"choose_adapters": False}),
        ("w/o_kurtosis", {"outlier_term": False}),
        ("w/o_layer_loss", {"layer_loss": False}),
        ("ft_teacher", {"teacher": "ft"}),
        ("lora_teacher", {"teacher": "lora"}),
        ("paper:w/o_Ap", {"prune": False, "distill": False}),
        ("paper:w/o_AT", {"grow_ranks": False}),
        ("paper:w/o_Ds", {"distill": False, "train_head": False}),
    ],
)
def test_a_smaller_ablation_changes_what_its_name_says(ablation: str, expected: object) -> None:
    assert changes("apt", ablation) == expected


@pytest.mark.parametrize("arm", ["random", "magnitude"])
def test_a_control_differs_from_apt_in_what_blocks_are_ranked_by_alone(arm: str) -> None:
    assert changes(arm) == {"block_score": arm}


def test_every_ablation_is_explained_and_exists() -> None:
    assert list(ABLATION_MEANINGS) == list(get_args(Ablation))
    assert all(is_known("apt", ablation) for ablation in get_args(Ablation))
    others = [arm for arm in get_args(Arm) if arm != "apt"]
    assert [pair for pair in product(others, get_args(Ablation)) if is_known(*pair)] == [
        (arm, "full") for arm in others
    ]


def test_without_pruning_growth_and_distillation_there_are_no_events() -> None:
    assert not arm_switches("lora").has_events
    assert not arm_switches("apt", "w/o_Ap+AT+Ds").has_events
    assert arm_switches("apt", "w/o_Ap").has_events
    assert arm_switches("apt", "w/o_AT").has_events
    assert arm_switches("apt", "w/o_Ap+AT").has_events


def test_only_cuts_and_growth_need_salience() -> None:
    assert arm_switches("apt", "w/o_Ap").measures_salience
    assert arm_switches("apt", "w/o_AT").measures_salience
    assert not arm_switches("apt", "w/o_Ap+AT").measures_salience


def test_only_apt_can_be_ablated() -> None:
    with pytest.raises(KeyError):
        arm_switches("ft", "w/o_Ap")


@pytest.mark.parametrize(
    ("arm", "weights"),
    [("prune_distill", "train_all_weights"), ("lora_prune_distill", "adapters")],
)
def test_gate_arms_prune_and_distil_and_differ_in_what_they_train(arm: Arm, weights: str) -> None:
    switches = arm_switches(arm)
    assert parts_of(arm) == {weights, "prune", "distill"}
    assert switches.pruning_method == "l0_gates"
    assert not switches.measures_salience
    assert not switches.may_refresh_teacher
    assert arm_switches("apt").may_refresh_teacher

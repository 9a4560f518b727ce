"""Groups, multipliers and the learning rate as a function of the step."""

from functools import partial

import pytest
import torch
from torch import nn

from apt_core.trainer.optim import (
    OptimizerSettings,
    build_adamw,
    detached_learning_rate_at,
    learning_rate_at,
    parameter_groups,
    set_learning_rate,
    trainable_parameters,
)


def two_layers() -> nn.Module:
    module = nn.ModuleDict(
        {"body": nn.Linear(3, 3), "norm": nn.LayerNorm(3), "head": nn.Linear(3, 2)}
    )
    module["body"].weight.requires_grad_(False)
    return module


def test_linear_rate_rises_through_the_warmup_and_falls_to_the_end() -> None:
    # W = 3, T = 7: (1, 2, 3) / 4 of the peak, then 4/4, 3/4, 2/4, 1/4, then nothing
    rates = [
        learning_rate_at(step, peak=8.0, warmup_steps=3, total_steps=7, schedule="linear")
        for step in range(9)
    ]
    assert rates == [2.0, 4.0, 6.0, 8.0, 6.0, 4.0, 2.0, 0.0, 0.0]


def test_constant_rate_stays_at_the_peak_after_the_warmup() -> None:
    rates = [
        learning_rate_at(step, peak=1.0, warmup_steps=1, total_steps=3, schedule="constant")
        for step in range(5)
    ]
    assert rates == [0.5, 1.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("warmup_steps", [0, 1, 10])
def test_no_update_of_a_run_happens_at_rate_zero(warmup_steps: int) -> None:
    rates = [
        learning_rate_at(step, peak=0.1, warmup_steps=warmup_steps, total_steps=10)
        for step in range(10)
    ]
    assert all(0 < rate <= 0.1 for rate in rates)


def test_a_run_that_is_all_warmup_never_divides_by_zero() -> None:
    assert learning_rate_at(10, peak=0.1, warmup_steps=10, total_steps=10) == 0.0


def test_biases_and_norms_do_not_decay_and_frozen_weights_are_left_out() -> None:
    module = two_layers()
    groups = parameter_groups(trainable_parameters(module), OptimizerSettings(weight_decay=0.1))
    decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    named = {name: decays.get(id(p)) for name, p in module.named_parameters()}
    assert named == {
        "body.weight": None,
        "body.bias": 0.0,
        "norm.weight": 0.0,
        "norm.bias": 0.0,
        "head.weight": 0.1,
        "head.bias": 0.0,
    }


def test_shared_parameters_count_once_and_empty_ones_not_at_all() -> None:
    module = nn.ModuleDict({"a": nn.Linear(2, 2, bias=False), "b": nn.Linear(2, 2, bias=False)})
    module["b"].weight = module["a"].weight
    module["c"] = nn.Linear(2, 0)
    assert [name for name, _ in trainable_parameters(module)] == ["a.weight"]


def test_the_first_matching_pattern_multiplies_the_rate() -> None:
    settings = OptimizerSettings(rate_multipliers={"head.*": 10.0, "*": 2.0})
    module = two_layers()
    optimizer = build_adamw(parameter_groups(trainable_parameters(module), settings), settings)
    set_learning_rate(optimizer.param_groups, 0.5)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert rates[id(module["head"].weight)] == 5.0
    assert rates[id(module["head"].bias)] == 5.0
    assert rates[id(module["norm"].weight)] == 1.0


def test_parameters_with_another_step_count_get_a_group_of_their_own() -> None:
    module = two_layers()
    steps = {"norm.weight": 7.0, "norm.bias": 7.0, "body.bias": 7.0}
    groups = parameter_groups(trainable_parameters(module), OptimizerSettings(), steps)
    by_group = [{id(p) for p in group["params"]} for group in groups]
    assert {id(module["norm"].weight), id(module["norm"].bias), id(module["body"].bias)} in by_group
    assert {id(module["head"].weight), id(module["head"].bias)} in by_group


def test_fused_adamw_steps_like_the_plain_one() -> None:
    settings = OptimizerSettings(weight_decay=0.1)
    weights = [nn.Parameter(torch.linspace(-1, 1, 12).reshape(3, 4)) for _ in range(2)]
    fused = build_adamw(parameter_groups([("w", weights[0])], settings), settings)
    plain = torch.optim.AdamW([weights[1]], lr=0.01, weight_decay=0.1, foreach=False)
    for step in range(5):
        for weight in weights:
            weight.grad = torch.full_like(weight, 0.1 * (step + 1))
        set_learning_rate(fused.param_groups, 0.01)
        fused.step()
        plain.step()
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=1e-7)


def test_a_detached_schedule_stays_at_the_peak_and_restarts_at_a_tenth():
    rate = partial(
        detached_learning_rate_at,
        attached=lambda step: 0.1 * step,
        peak=1.0,
        first_event=4,
        restart=10,
        total_steps=20,
    )
    assert [rate(step) for step in (0, 3)] == [0.0, pytest.approx(0.3)]
    assert [rate(step) for step in (4, 7, 9)] == [1.0, 1.0, 1.0]
    assert rate(10) == pytest.approx(0.1)
    assert rate(15) == pytest.approx(0.05)
    assert rate(19) == pytest.approx(0.01)
    assert rate(20) == 0.0


def test_without_a_teacher_a_detached_schedule_ends_at_its_peak():
    rates = {
        detached_learning_rate_at(
            step, lambda _: 0.0, peak=2.0, first_event=1, restart=9, total_steps=9
        )
        for step in range(1, 9)
    }
    assert rates == {2.0}

"""Hard-concrete gates against closed forms, all patterns by hand, and many draws."""

import itertools
import math

import pytest
import torch
from scipy import integrate

from apt_core.baselines.l0_gates import (
    HIGH,
    LOW,
    TEMPERATURE,
    GateValues,
    expected_params,
    initial_log_alpha,
    lagrangian,
    num_gates,
    open_probability,
    sampled_gates,
    settled_gates,
    split_gates,
    target_at,
)
from apt_core.models.structure import Structure, SubBlock

ATTENTION = SubBlock("a", "attention", 2, 4, 16, 12, 3, fixed_if_alive=5)
FFN = SubBlock("f", "ffn", 3, 1, 2, 1, 3)
STRUCTURE = Structure(3, (ATTENTION, FFN))


def test_a_draw_by_hand() -> None:
    # u = 1/2 has logit 0: sigmoid(0) = 1/2 stretches to -0.1 + 1.2 / 2 = 1/2.
    # u = 0.8 has logit log 4: sigmoid(1.5 log 4) = 8 / 9, and -0.1 + 1.2 * 8 / 9 = 29 / 30.
    # Log alphas of -9 and 9 are clamped.
    log_alpha = torch.tensor([0.0, 0.0, -9.0, 9.0])
    drawn = sampled_gates(log_alpha, torch.tensor([0.5, 0.8, 0.5, 0.5]))
    torch.testing.assert_close(drawn, torch.tensor([0.5, 29 / 30, 0.0, 1.0]))


def test_a_settled_gate_by_hand() -> None:
    # sigmoid(log 3) = 3/4 stretches to -0.1 + 0.9 = 0.8; sigmoid(-log 11) = 1/12 is just closed.
    log_alpha = torch.tensor([0.0, math.log(3), -math.log(11) - 1e-3, 5.0])
    torch.testing.assert_close(settled_gates(log_alpha), torch.tensor([0.5, 0.8, 0.0, 1.0]))


@pytest.mark.parametrize("log_alpha", [-2.0, 0.0, 1.5])
def test_many_draws_are_open_and_have_the_mean_of_the_closed_form(log_alpha: float) -> None:
    count = 200_000
    uniform = torch.rand(count, generator=torch.Generator().manual_seed(0)).clamp(1e-7, 1 - 1e-7)
    drawn = sampled_gates(torch.full((count,), log_alpha), uniform)
    is_open = float(open_probability(torch.tensor([log_alpha]))[0])
    # Three standard errors of a share are below 0.0034.
    assert float((drawn > 0).float().mean()) == pytest.approx(is_open, abs=0.0034)

    def above(z: float) -> float:
        """P(gate > z): s > x means logit(u) > beta * logit(x) - log alpha."""
        share = (z - LOW) / (HIGH - LOW)
        return 1 / (1 + math.exp(TEMPERATURE * math.log(share / (1 - share)) - log_alpha))

    assert above(0.0) == pytest.approx(is_open, rel=1e-6)
    mean, _ = integrate.quad(above, 0, 1)
    assert float(drawn.mean()) == pytest.approx(mean, abs=0.0034)


def test_draws_let_gradients_through_where_they_are_between_the_ends() -> None:
    log_alpha = torch.tensor([0.3, -9.0, 9.0], requires_grad=True)
    uniform = torch.tensor([0.4, 0.5, 0.5])
    sampled_gates(log_alpha, uniform).sum().backward()
    share = torch.sigmoid((torch.tensor(0.4).logit() + 0.3) / TEMPERATURE)
    slope = (HIGH - LOW) * share * (1 - share) / TEMPERATURE
    torch.testing.assert_close(log_alpha.grad, torch.tensor([float(slope), 0.0, 0.0]))


def test_a_drop_rate_is_the_share_that_the_start_leaves_closed() -> None:
    assert initial_log_alpha(0.5) == 0
    assert torch.sigmoid(torch.tensor(initial_log_alpha(0.05))) == pytest.approx(0.95)


def test_numbers_are_split_by_block_in_model_order() -> None:
    assert num_gates(STRUCTURE) == 2 + 3 + 2 + 3
    gates = split_gates(torch.arange(10.0), STRUCTURE)
    assert {n: v.tolist() for n, v in gates.units.items()} == {"a": [0, 1], "f": [2, 3, 4]}
    assert {n: float(v) for n, v in gates.sub_blocks.items()} == {"a": 5, "f": 6}
    assert gates.hidden.tolist() == [7, 8, 9]


def params_of(pattern: tuple[int, ...]) -> int:
    """The exact count of a pattern of open gates, as the structure has it."""
    gates = split_gates(torch.tensor(pattern, dtype=torch.float64), STRUCTURE)
    units = {n: int(v.sum()) * int(gates.sub_blocks[n]) for n, v in gates.units.items()}
    return STRUCTURE.with_units(units, int(gates.hidden.sum())).num_params()


def test_the_expectation_is_the_mean_over_all_patterns() -> None:
    generator = torch.Generator().manual_seed(1)
    chance = torch.rand(num_gates(STRUCTURE), generator=generator, dtype=torch.float64)
    expected = 0.0
    for pattern in itertools.product((0, 1), repeat=len(chance)):
        picks = torch.tensor(pattern)
        weight = float(torch.where(picks == 1, chance, 1 - chance).prod())
        expected += weight * params_of(pattern)
    found = expected_params(STRUCTURE, split_gates(chance, STRUCTURE))
    assert float(found) == pytest.approx(expected, rel=1e-12)


def test_the_expectation_is_the_mean_of_many_draws() -> None:
    log_alpha = torch.linspace(-2, 2, num_gates(STRUCTURE))
    generator = torch.Generator().manual_seed(2)
    counts = torch.tensor(
        [
            params_of(tuple((sampled_gates(log_alpha, uniform) > 0).int().tolist()))
            for uniform in torch.rand(4000, len(log_alpha), generator=generator).clamp(1e-7, 0.999)
        ],
        dtype=torch.float64,
    )
    expected = expected_params(STRUCTURE, split_gates(open_probability(log_alpha), STRUCTURE))
    assert float(counts.mean()) == pytest.approx(
        float(expected), abs=4 * float(counts.std()) / math.sqrt(len(counts))
    )


def test_with_all_gates_open_nothing_is_missing() -> None:
    gates = split_gates(torch.ones(num_gates(STRUCTURE)), STRUCTURE)
    assert isinstance(gates, GateValues)
    assert float(expected_params(STRUCTURE, gates)) == STRUCTURE.num_params()


def test_the_target_rises_in_a_straight_line_and_stays() -> None:
    found = [target_at(s, start=10, warmup=20, target=0.6) for s in (10, 15, 30, 31, 99)]
    assert found == pytest.approx([0.0, 0.15, 0.6, 0.6, 0.6])
    assert target_at(10, start=10, warmup=0, target=0.6) == 0.6


def test_gates_descend_and_multipliers_ascend() -> None:
    sparsity = torch.tensor(0.2, requires_grad=True)
    multipliers = torch.tensor([-0.5, 2.0], requires_grad=True)
    penalty = lagrangian(sparsity, 0.6, multipliers)
    # -0.5 * -0.4 + 2 * 0.16 = 0.52
    assert float(penalty.detach()) == pytest.approx(0.52)
    penalty.backward()
    assert sparsity.grad is not None
    # d/ds = -0.5 + 2 * 2 * -0.4
    assert float(sparsity.grad) == pytest.approx(-2.1)
    torch.testing.assert_close(multipliers.grad, torch.tensor([0.4, -0.16]))

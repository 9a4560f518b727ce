"""Factors of kept units from normal equations: against least squares in fp64, and their limits."""

import pytest
import torch

from apt_core.baselines.mask_factors import MAX_FACTOR, output_equations, solve_factors


def randn(*shape: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def contributions(inputs, weight, unit_width: int) -> torch.Tensor:
    """(tokens * hidden, units): what every unit adds to the residual stream, spelt out."""
    units = range(0, inputs.shape[1], unit_width)
    columns = [
        (inputs[:, u : u + unit_width] @ weight[:, u : u + unit_width].T).flatten() for u in units
    ]
    return torch.stack(columns, dim=1)


@pytest.mark.parametrize("unit_width", [1, 3])
@pytest.mark.parametrize("damping", [0.0, 0.3])
def test_factors_are_those_of_least_squares_in_fp64(unit_width: int, damping: float) -> None:
    inputs, weight = randn(20, 6, seed=1), randn(5, 6, seed=2)
    error = 0.3 * randn(20, 5, seed=3)
    terms = contributions(inputs, weight, unit_width)
    gram, moments = output_equations(inputs, weight, error, unit_width)
    torch.testing.assert_close(gram, terms.T @ terms)
    torch.testing.assert_close(moments, terms.T @ error.flatten())

    strength = (damping * terms.square().sum(dim=0).mean()).sqrt()
    rows = torch.cat([terms, strength * torch.eye(terms.shape[1], dtype=torch.float64)])
    wanted = torch.cat([error.flatten(), torch.zeros(terms.shape[1], dtype=torch.float64)])
    delta = torch.linalg.lstsq(rows, wanted).solution
    torch.testing.assert_close(solve_factors(gram, moments, damping), 1 + delta)


def test_equations_of_batches_add_up() -> None:
    inputs, weight, error = randn(9, 4, seed=1), randn(3, 4, seed=2), randn(9, 3, seed=3)
    whole = output_equations(inputs, weight, error, 2)
    first = output_equations(inputs[:5], weight, error[:5], 2)
    second = output_equations(inputs[5:], weight, error[5:], 2)
    for total, a, b in zip(whole, first, second, strict=True):
        torch.testing.assert_close(total, a + b)


def test_an_output_that_lacks_nothing_keeps_its_masks() -> None:
    inputs, weight = randn(9, 4, seed=1), randn(3, 4, seed=2)
    gram, moments = output_equations(inputs, weight, torch.zeros(9, 3), 1)
    assert solve_factors(gram, moments).tolist() == [1, 1, 1, 1]


def test_a_factor_that_is_known_is_found() -> None:
    inputs, weight = randn(40, 3, seed=1), randn(5, 3, seed=2)
    factors = torch.tensor([1.5, 0.2, -2.0], dtype=torch.float64)
    error = inputs @ (weight * factors).T - inputs @ weight.T
    gram, moments = output_equations(inputs, weight, error, 1)
    torch.testing.assert_close(solve_factors(gram, moments, damping=0.0), factors)
    damped = solve_factors(gram, moments, damping=1.0)
    assert (damped - 1).norm() < 0.9 * (factors - 1).norm()


@pytest.mark.parametrize("factor", [MAX_FACTOR + 0.5, -MAX_FACTOR - 0.5])
def test_factors_beyond_the_limit_are_rejected_together(factor: float) -> None:
    gram = torch.eye(2, dtype=torch.float64)
    moments = torch.tensor([factor - 1, 0.5], dtype=torch.float64)
    assert solve_factors(gram, moments, damping=0.0).tolist() == [1, 1]
    within = torch.tensor([factor * 0.9 - 1, 0.5], dtype=torch.float64)
    assert solve_factors(gram, within, damping=0.0).tolist() == pytest.approx([factor * 0.9, 1.5])


def test_a_sub_block_that_gives_nothing_keeps_its_masks() -> None:
    gram, moments = output_equations(
        torch.zeros(6, 2), torch.ones(3, 2), torch.ones(6, 3), unit_width=1
    )
    assert solve_factors(gram, moments).tolist() == [1, 1]

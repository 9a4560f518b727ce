"""Mask tuning's formulas: by hand, against slow oracles, and what must hold for any input."""

from dataclasses import replace
from itertools import combinations
from random import Random

import pytest
import torch

from apt_core.baselines.mask_tuning import (
    block_fisher_loss,
    fisher_information,
    mask_gradients,
    rearrange,
    search_units,
)
from apt_core.errors import BudgetError
from apt_core.models.structure import Structure, SubBlock
from apt_core.pruner.cost import ParamCost
from apt_core.pruner.search import Floors
from tests.reference.structures import random_structure, roberta_base
from tests.reference.unit_search import best_pair_of_prefixes, best_subset, params

SEEDS = pytest.mark.parametrize("seed", range(8))


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def test_mask_gradients_by_hand() -> None:
    activation = torch.tensor([[1.0, 2.0, 3.0, 4.0], [1.0, 0.0, 1.0, 0.0]])
    gradient = torch.tensor([[1.0, 1.0, 0.0, 2.0], [5.0, 1.0, 7.0, 1.0]])
    # channels: 1 + 5, 2 + 0, 0 + 7, 8 + 0
    assert mask_gradients(activation, gradient, 1).tolist() == [6, 2, 7, 8]
    assert mask_gradients(activation, gradient, 2).tolist() == [8, 15]


@pytest.mark.parametrize("shape", [(5, 6), (2, 5, 6)])
def test_mask_gradients_are_those_of_autograd(shape) -> None:
    activation, weight = torch.randn(shape, generator=generator(0)), torch.ones(3)
    mask = weight.clone().requires_grad_()
    masked = activation * mask.repeat_interleave(2)
    masked.retain_grad()
    masked.tanh().square().sum().backward()
    assert masked.grad is not None
    found = mask_gradients(activation, masked.grad, 2)
    torch.testing.assert_close(found, mask.grad, rtol=1e-5, atol=1e-5)


def test_fisher_information_sums_squares_over_batches() -> None:
    rows = torch.tensor([[1.0, -2.0, 0.0], [3.0, 1.0, 0.0]])
    assert fisher_information(rows).tolist() == [10, 5, 0]


@SEEDS
def test_the_block_loss_is_the_quadratic_form_of_the_whole_matrix(seed: int) -> None:
    rows = randn(4, 7, seed=seed)
    kept = torch.tensor([0, 2, 6])
    pruned = torch.ones(7, dtype=torch.float64)
    pruned[kept] = 0
    matrix = rows.T @ rows
    assert block_fisher_loss(rows, kept) == pytest.approx(float(pruned @ matrix @ pruned))


def random_fisher(structure: Structure, seed: int) -> dict[str, torch.Tensor]:
    draw = generator(seed)
    # Few distinct values, so that ties occur.
    return {
        s.name: torch.randint(0, 6, (s.num_units,), generator=draw).double()
        for s in structure.sub_blocks
    }


def kept_fisher(fisher, kept) -> float:
    return sum(float(fisher[name][indices].sum()) for name, indices in kept.items())


def chosen_units(kept) -> list[tuple[str, int]]:
    return [(name, i) for name, indices in kept.items() for i in indices.tolist()]


@pytest.mark.parametrize("floor", [0, 1, 2])
@pytest.mark.parametrize("seed", range(40))
def test_the_search_equals_the_exhaustive_one(seed: int, floor: int) -> None:
    random = Random(seed)
    structure = random_structure(random)
    fisher = random_fisher(structure, seed)
    floors = Floors(min_heads=floor, min_neurons=floor, min_hidden=99)
    lists = {name: values.tolist() for name, values in fisher.items()}
    must_stay = {s.name: floor for s in structure.sub_blocks}
    for density in (0.0, 0.3, 0.7, 1.0):
        budget = density * structure.num_params()
        expected = best_pair_of_prefixes(structure, lists, budget, must_stay)
        if expected is None:
            with pytest.raises(BudgetError, match=r"pruning\.min_heads"):
                search_units(structure, fisher, budget, floors)
            continue
        kept = search_units(structure, fisher, budget, floors)
        assert list(kept) == [s.name for s in structure.sub_blocks]
        assert params(structure, chosen_units(kept)) <= budget
        assert kept_fisher(fisher, kept) == pytest.approx(expected)
        for s in structure.sub_blocks:
            assert len(kept[s.name]) >= min(floor, s.num_units)
            assert kept[s.name].tolist() == sorted(set(kept[s.name].tolist()))


@SEEDS
def test_where_nothing_goes_with_a_sub_block_it_is_the_best_of_all_subsets(seed: int) -> None:
    sub_blocks = (
        SubBlock("a0", "attention", 3, 2, 8, 6, 0),
        SubBlock("f0", "ffn", 4, 1, 2, 1, 0),
        SubBlock("a1", "attention", 2, 2, 8, 6, 0),
        SubBlock("f1", "ffn", 3, 1, 2, 1, 0),
    )
    structure = Structure(4, sub_blocks)
    draw = generator(seed)
    fisher = {s.name: torch.rand(s.num_units, generator=draw).double() for s in sub_blocks}
    lists = {name: values.tolist() for name, values in fisher.items()}
    for density in (0.2, 0.5, 0.8):
        budget = density * structure.num_params()
        kept = search_units(structure, fisher, budget, Floors())
        assert kept_fisher(fisher, kept) == pytest.approx(best_subset(structure, lists, budget))


@pytest.mark.parametrize("sparsity", [0.4, 0.6, 0.8])
def test_roberta_base_ends_within_a_hundredth_of_a_point_of_its_target(sparsity: float) -> None:
    structure = roberta_base()
    draw = generator(1)
    fisher = {s.name: torch.rand(s.num_units, generator=draw) for s in structure.sub_blocks}
    budget = (1 - sparsity) * structure.num_params()
    kept = search_units(structure, fisher, budget, Floors())
    counts = {name: len(indices) for name, indices in kept.items()}
    reached = structure.with_units(counts, 768).sparsity_relative_to(structure)
    assert sparsity <= reached < sparsity + 1e-4


def test_without_any_fisher_information_the_budget_is_used_all_the_same() -> None:
    structure = roberta_base()
    fisher = {s.name: torch.zeros(s.num_units) for s in structure.sub_blocks}
    kept = search_units(structure, fisher, 0.95 * structure.num_params(), Floors())
    counts = {name: len(indices) for name, indices in kept.items()}
    density = structure.with_units(counts, 768).num_params() / structure.num_params()
    assert 0.94 < density <= 0.95


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_fisher_information_that_is_not_finite_is_refused(bad: float) -> None:
    structure = Structure(4, (SubBlock("a", "attention", 2, 1, 4, 0, 0),))
    with pytest.raises(ValueError, match="of a: not all values are finite"):
        search_units(structure, {"a": torch.tensor([1.0, bad])}, 16, Floors())


class Units(ParamCost):
    """Every head and neuron costs 1."""

    def total(self, structure: Structure) -> int:
        return sum(s.num_units for s in structure.sub_blocks)


def test_another_cost_decides_otherwise() -> None:
    structure = Structure(
        4, (SubBlock("a", "attention", 2, 1, 4, 0, 0), SubBlock("f", "ffn", 2, 1, 2, 0, 0))
    )
    fisher = {"a": torch.tensor([5.0, 4.0]), "f": torch.tensor([3.0, 2.0])}
    # Parameters: 16 a head, 8 a neuron. 32 of them: both heads, or one head and both neurons.
    kept = search_units(structure, fisher, 32, Floors())
    assert {name: indices.tolist() for name, indices in kept.items()} == {"a": [0], "f": [0, 1]}
    # Units: any two.
    kept = search_units(structure, fisher, 2, Floors(), Units())
    assert {name: indices.tolist() for name, indices in kept.items()} == {"a": [0, 1], "f": []}


def test_counts_are_aligned_and_the_most_informative_stay() -> None:
    structure = roberta_base()
    structure = replace(structure, sub_blocks=structure.sub_blocks[:4])
    draw = generator(2)
    fisher = {s.name: torch.rand(s.num_units, generator=draw) for s in structure.sub_blocks}
    budget = 0.5 * structure.num_params()
    kept = search_units(structure, fisher, budget, Floors(round_to=16))
    assert params(structure, chosen_units(kept)) <= budget
    for s in structure.of_kind("ffn"):
        count = len(kept[s.name])
        assert count % 16 == 0
        assert count > 0
        best = fisher[s.name].argsort(descending=True)[:count]
        assert kept[s.name].tolist() == sorted(best.tolist())


def test_units_that_cancel_are_pruned_together() -> None:
    # Alone, unit 1 matters more than unit 3; but together with unit 2 it may go for nothing.
    rows = torch.tensor([[3.0, -2.0, 2.0, 1.0], [3.0, -2.0, 2.0, 1.0]])
    kept = rearrange(rows, torch.tensor([0, 1]))
    assert block_fisher_loss(rows, torch.tensor([0, 1])) == 2 * (2 + 1) ** 2
    assert kept.tolist() == [0, 3]
    assert block_fisher_loss(rows, kept) == 0


@pytest.mark.parametrize("seed", range(30))
def test_rearranging_never_raises_the_loss_and_leaves_no_swap_that_lowers_it(seed: int) -> None:
    random = Random(seed)
    size, batches = random.randint(2, 8), random.randint(1, 5)
    rows = randn(batches, size, seed=seed)
    count = random.randint(1, size - 1)
    start = fisher_information(rows).argsort(descending=True)[:count].sort().values
    kept = rearrange(rows, start)
    assert kept.tolist() == sorted(set(kept.tolist()))
    assert len(kept) == count
    loss = block_fisher_loss(rows, kept)
    assert loss <= block_fisher_loss(rows, start) + 1e-9
    chosen = set(kept.tolist())
    swapped = [
        block_fisher_loss(rows, torch.tensor(sorted(chosen - {out} | {back})))
        for out in chosen
        for back in set(range(size)) - chosen
    ]
    assert loss <= min(swapped) + 1e-6


def test_rearranging_helps_and_is_often_the_best_of_all_choices() -> None:
    improved = exact = 0
    for seed in range(30):
        rows = randn(2, 7, seed=seed)
        start = fisher_information(rows).argsort(descending=True)[:3].sort().values
        loss = block_fisher_loss(rows, rearrange(rows, start))
        best = min(
            block_fisher_loss(rows, torch.tensor(choice)) for choice in combinations(range(7), 3)
        )
        assert loss >= best - 1e-9
        improved += loss < block_fisher_loss(rows, start) - 1e-9
        exact += loss <= best + 1e-9
    assert improved >= 20
    assert exact >= 10


@pytest.mark.parametrize("kept", [[], [0, 1, 2]])
def test_nothing_and_everything_stay_as_they_are(kept) -> None:
    rows = randn(2, 3, seed=0)
    assert rearrange(rows, torch.tensor(kept, dtype=torch.long)).tolist() == kept

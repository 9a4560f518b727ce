"""Tables of measured sub-blocks: never falling, exact on the grid, straight in between."""

import json
from itertools import pairwise
from random import Random

import pytest
import torch

from apt_core.models.structure import Structure, SubBlock
from apt_core.pruner.cost import CostModel
from apt_core.pruner.latency import LatencyCost, LatencyTable, kind_of, monotone
from apt_core.pruner.search import BlockSalience, Floors, search_blocks

HEAD = SubBlock("a", "attention", 4, 4, 16, 12, 3)
NEURON = SubBlock("f", "ffn", 40, 1, 2, 1, 3)
STRUCTURE = Structure(16, (HEAD, NEURON))
TABLE = LatencyTable((1, 3, 5), (4, 8), ((1.0, 2.0), (3.0, 6.0), (3.0, 7.0)))


def cost() -> LatencyCost:
    """Heads take 1 ms each and 0.1 per dimension; neurons 0.5 ms at any number of them."""
    heads = torch.tensor([[n + 0.1 * d for d in (4, 16)] for n in (1, 4)])
    neurons = torch.full((2, 2), 0.5)
    return LatencyCost(
        {
            kind_of(HEAD): LatencyTable.fit((1, 4), (4, 16), heads),
            kind_of(NEURON): LatencyTable.fit((1, 40), (4, 16), neurons),
        }
    )


def test_what_is_monotone_stays_and_inversions_are_split() -> None:
    rising = torch.tensor([[1.0, 2.0], [2.0, 5.0]])
    assert torch.equal(monotone(rising), rising)
    # The 5 before a 3: bounds 5 and 3 at both places, so 4 twice.
    assert monotone(torch.tensor([[1.0], [5.0], [3.0], [9.0]])).flatten().tolist() == [1, 4, 4, 9]


@pytest.mark.parametrize("seed", range(20))
def test_a_fit_never_falls_and_moves_no_further_than_the_largest_inversion(seed: int) -> None:
    measured = torch.rand(5, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    fitted = monotone(measured)
    assert bool((fitted.diff(dim=0) >= 0).all())
    assert bool((fitted.diff(dim=1) >= 0).all())
    inversion = max(
        float(measured[a, b] - measured[c, d])
        for a in range(5) for b in range(4) for c in range(a, 5) for d in range(b, 4)
    )  # fmt: skip
    assert float((fitted - measured).abs().max()) <= inversion


def test_between_grid_points_lines_are_straight_and_beyond_them_flat() -> None:
    assert TABLE.at(3, 8) == 6.0
    assert TABLE.at(2, 8) == 4.0
    assert TABLE.at(2, 6) == (1 + 2 + 3 + 6) / 4
    assert TABLE.at(9, 99) == 7.0
    assert TABLE.at(1, 2) == 1.0
    assert TABLE.at(0, 8) == 0.0


def test_a_structure_costs_the_sum_of_its_sub_blocks() -> None:
    assert isinstance(cost(), CostModel)
    assert cost().total(STRUCTURE) == pytest.approx(4 + 1.6 + 0.5)
    assert cost().total(STRUCTURE.with_units({"a": 2, "f": 0}, 10)) == pytest.approx(2 + 1.0)


def test_a_unit_costs_its_share_and_a_dimension_what_narrowing_saves() -> None:
    assert cost().unit_cost(STRUCTURE, HEAD) == pytest.approx(5.6 / 4)
    assert cost().unit_cost(STRUCTURE, NEURON) == pytest.approx(0.5 / 40)
    # From 16 to 4 dimensions the heads save 1.2 ms, the neurons nothing.
    assert cost().hidden_cost(STRUCTURE) == pytest.approx(0.1)
    gone = STRUCTURE.with_units({"a": 0, "f": 0}, 16)
    assert cost().hidden_cost(gone) > 0
    assert cost().unit_cost(gone, gone.sub_blocks[0]) > 0


def test_sub_blocks_of_one_kind_share_a_table_whatever_they_have_left() -> None:
    assert kind_of(HEAD) == kind_of(SubBlock("b", "attention", 1, 4, 16, 12, 3))
    assert kind_of(HEAD) != kind_of(SubBlock("b", "attention", 4, 4, 16, 12, 3, memory="target"))
    assert kind_of(HEAD) != kind_of(SubBlock("b", "attention", 4, 8, 32, 12, 3))


@pytest.mark.parametrize("density", [0.0, 0.2, 0.5, 0.8, 1.0])
def test_a_search_keeps_the_longest_ranking_that_is_fast_enough(density: float) -> None:
    random = Random(0)
    salience = BlockSalience(
        {
            s.name: torch.tensor([random.random() for _ in range(s.num_units)])
            for s in (HEAD, NEURON)
        },
        torch.tensor([random.random() for _ in range(16)]),
    )
    budgets = [share * cost().total(STRUCTURE) for share in (density, min(1.0, density + 0.1))]
    kept = [search_blocks(STRUCTURE, salience, b, Floors(), cost=cost()) for b in budgets]
    for found, budget in zip(kept, budgets, strict=True):
        units = {name: len(indices) for name, indices in found.units.items()}
        left = STRUCTURE.with_units(units, len(found.hidden))
        assert cost().total(left) <= budget
        if density == 1.0:
            assert left == STRUCTURE
    for fewer, more in pairwise(kept):
        assert set(fewer.hidden.tolist()) <= set(more.hidden.tolist())


def test_a_table_survives_json() -> None:
    again = LatencyCost.from_json(json.loads(json.dumps(cost().to_json())))
    assert again == cost()

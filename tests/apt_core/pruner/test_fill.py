"""What is left of a budget is used up, by rank, and never more than it."""

import torch

from apt_core.models.structure import Structure, SubBlock
from apt_core.models.surgery_record import KeptBlocks
from apt_core.pruner.fill import fill_budget
from apt_core.pruner.search import BlockSalience, Floors, count_params, search_blocks

ATTENTION = SubBlock("a", "attention", 2, 4, 16, 12, 3)
FFN = SubBlock("f", "ffn", 6, 1, 2, 1, 3)
DEAD = SubBlock("g", "ffn", 3, 1, 2, 1, 3)
STRUCTURE = Structure(8, (ATTENTION, FFN, DEAD))


def kept(heads: list[int], neurons: list[int], dead: list[int], hidden: int) -> KeptBlocks:
    units = {"a": torch.tensor(heads), "f": torch.tensor(neurons), "g": torch.tensor(dead)}
    return KeptBlocks({n: i.long() for n, i in units.items()}, torch.arange(hidden))


SCORES = BlockSalience(
    {"a": torch.tensor([0.9, 0.8]), "f": torch.tensor([0.7, 0.1, 0.6, 0.2, 0.5, 0.3])}
    | {"g": torch.tensor([0.9, 0.9, 0.9])},
    torch.tensor([1.0, 1.0, 1.0, 1.0, 0.4, 0.4, 0.4, 0.4]),
)


def test_a_large_block_is_passed_over_for_smaller_ones_of_lower_rank() -> None:
    before = kept([0], [0], [], 4)
    # Head 0: 16 * 4 + 12 + 3 * 4 = 88; neuron 0: 2 * 4 + 1 + 3 * 4 = 21: 109 parameters.
    assert count_params(STRUCTURE, before) == 109
    # A second head is 76, a neuron 9, a hidden dimension 16 + 3 + 2 + 3 = 24.
    after = fill_budget(STRUCTURE, before, SCORES, 109 + 20)
    assert after.units["a"].tolist() == [0]
    assert after.units["f"].tolist() == [0, 2, 4]
    assert after.units["g"].tolist() == []
    assert after.hidden.tolist() == [0, 1, 2, 3]
    assert count_params(STRUCTURE, after) == 127


def test_costs_follow_what_has_been_added() -> None:
    # 76 for the head, two neurons 18; then a hidden dimension is 32 + 3 + 6 + 3 = 44 and fits.
    after = fill_budget(STRUCTURE, kept([0], [0], [], 4), SCORES, 109 + 76 + 18 + 44)
    assert after.units["a"].tolist() == [0, 1]
    assert after.units["f"].tolist() == [0, 2, 4]
    assert after.hidden.tolist() == [0, 1, 2, 3, 4]
    assert count_params(STRUCTURE, after) == 109 + 76 + 18 + 44


def test_a_dead_sub_block_returns_only_where_nothing_else_fits() -> None:
    before = kept([0, 1], list(range(6)), [], 4)
    # A hidden dimension is 2 * 16 + 3 + 6 * 2 + 3 = 50; the first neuron of the dead sub-block
    # is 2 * 4 + 1 + 3 * 4 = 21, its next ones 9.
    params = count_params(STRUCTURE, before)
    after = fill_budget(STRUCTURE, before, SCORES, params + 35)
    assert after.units["g"].tolist() == [0, 1]
    assert count_params(STRUCTURE, after) == params + 30
    roomy = fill_budget(STRUCTURE, before, SCORES, params + 50 + 20)
    assert roomy.units["g"].tolist() == []
    assert len(roomy.hidden) == 5


def test_nothing_more_fits_afterwards_and_the_budget_holds() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        scores = BlockSalience(
            {s.name: torch.rand(s.num_units, generator=generator) for s in STRUCTURE.sub_blocks},
            torch.rand(8, generator=generator),
        )
        budget = 0.6 * STRUCTURE.num_params()
        before = search_blocks(STRUCTURE, scores, budget, Floors(min_hidden=2))
        after = fill_budget(STRUCTURE, before, scores, budget)
        params = count_params(STRUCTURE, after)
        assert count_params(STRUCTURE, before) <= params <= budget
        for name, indices in before.units.items():
            assert set(indices.tolist()) <= set(after.units[name].tolist())
        alive = [s for s in STRUCTURE.sub_blocks if len(before.units[s.name]) > 0]
        room_for = [
            s.per_unit_per_dim * len(after.hidden) + s.per_unit
            for s in alive
            if len(after.units[s.name]) < s.num_units
        ]
        assert all(params + cost > budget for cost in room_for)


def test_what_fills_the_budget_already_stays_as_it_is() -> None:
    before = kept([1], [0, 3], [2], 5)
    after = fill_budget(STRUCTURE, before, SCORES, count_params(STRUCTURE, before))
    assert {n: i.tolist() for n, i in after.units.items()} == {"a": [1], "f": [0, 3], "g": [2]}
    assert after.hidden.tolist() == [0, 1, 2, 3, 4]

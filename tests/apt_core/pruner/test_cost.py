"""What structures cost: by hand, by the derivative, and that more blocks never cost less."""

from random import Random

import pytest

from apt_core.models.structure import Structure, SubBlock
from apt_core.pruner.cost import PARAMS, MacCost
from tests.reference.structures import random_structure, roberta_base

T5 = (
    SubBlock("self", "attention", 3, 4, 16, 0, 1, stream="target", memory="target"),
    SubBlock("cross", "attention", 2, 4, 16, 0, 1, stream="target", memory="source"),
    SubBlock("ffn", "ffn", 10, 1, 3, 0, 1, stream="target"),
)


def test_parameters_are_those_of_the_structure() -> None:
    structure = roberta_base()
    attention, ffn = structure.sub_blocks[:2]
    assert PARAMS.total(structure) == structure.num_params() == 85_054_464
    assert PARAMS.unit_cost(structure, attention) == 196_608
    assert PARAMS.unit_cost(structure, ffn) == 1_536
    assert PARAMS.hidden_cost(structure) == 110_592


def test_macs_of_a_decoder_beside_an_encoder_by_hand() -> None:
    # 7 tokens are written, 5 are read; hidden size 8, heads of 4 channels.
    cost = MacCost(5, 7)
    own = 3 * (4 * 4 * 8 * 7 + 2 * 7 * 7 * 4)
    cross = 2 * (2 * 4 * 8 * 7 + 2 * 4 * 8 * 5 + 2 * 7 * 5 * 4)
    ffn = 10 * 3 * 8 * 7
    assert cost.total(Structure(8, T5)) == own + cross + ffn


def test_grouped_queries_share_their_keys() -> None:
    # Two query heads of 6 channels on one key head: 12 for q and o, 6 for k and v.
    group = SubBlock("a", "attention", 2, 12, 36, 0, 1, heads_per_unit=2)
    expected = 2 * (9 * 16 * (2 * 12 + 2 * 6) + 2 * 9 * 9 * 12)
    assert MacCost(9).total(Structure(16, (group,))) == expected


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("cost", [PARAMS, MacCost(11, 4)])
def test_one_more_block_costs_what_it_says_and_never_less_than_nothing(cost, seed: int) -> None:
    structure = random_structure(Random(seed))
    total = cost.total(structure)
    for s in structure.sub_blocks:
        larger = structure.with_units({s.name: s.num_units + 1}, structure.hidden_size)
        freed = cost.total(larger) - total
        assert freed >= 0
        if isinstance(cost, MacCost):  # parameters also count biases, which no density does
            assert max(freed, 1) == cost.unit_cost(structure, s)
    wider = structure.with_units({}, structure.hidden_size + 1)
    freed = cost.total(wider) - total
    assert freed >= 0
    if isinstance(cost, MacCost):
        assert max(freed, 1) == cost.hidden_cost(structure)


def test_what_frees_nothing_counts_as_one() -> None:
    gone = Structure(3, (SubBlock("gone", "ffn", 0, 1, 2, 1, 3),))
    assert PARAMS.hidden_cost(gone) == 1
    assert MacCost(5).hidden_cost(gone) == 1
    assert MacCost(0).unit_cost(gone, gone.sub_blocks[0]) == 1

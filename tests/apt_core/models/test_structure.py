"""The parameter arithmetic of `Structure`, on the shapes of roberta-base and by hand."""

import json

import pytest

from apt_core.models.structure import Structure, SubBlock
from tests.reference.structures import roberta_base


def test_roberta_base_has_the_reference_number_of_layer_parameters() -> None:
    assert roberta_base().num_params() == 85_054_464


def test_sixty_percent_sparsity_of_roberta_base_leaves_the_reference_budget() -> None:
    # 0.4 * 85,054,464 = 34,021,785.6
    assert round(0.4 * roberta_base().num_params()) == 34_021_786


def test_block_costs_of_roberta_base_are_the_papers() -> None:
    structure = roberta_base()
    assert structure.unit_cost(structure.of_kind("attention")[0]) == 196_608  # 4 * 768 * 64
    assert structure.unit_cost(structure.of_kind("ffn")[0]) == 1_536  # 2 * 768
    assert structure.hidden_cost() == 110_592  # 12 * (4 * 768 + 2 * 3072)


def test_costs_follow_the_present_structure() -> None:
    structure = roberta_base()
    halved = structure.with_units({s.name: 6 for s in structure.of_kind("attention")}, 384)
    assert halved.unit_cost(halved.of_kind("ffn")[0]) == 768
    assert halved.hidden_cost() == 12 * (6 * 4 * 64 + 2 * 3072)


def test_a_sub_block_counts_units_biases_and_what_lives_as_long_as_it_does() -> None:
    # 3 heads of 2 channels at hidden size 5: 3 * (8 * 5 + 6) + 3 * 5
    attention = SubBlock("attention", "attention", 3, 2, 8, 6, 3)
    assert attention.num_params(5) == 153


def test_a_sub_block_without_units_costs_nothing() -> None:
    structure = Structure(
        5,
        (SubBlock("attention", "attention", 3, 2, 8, 6, 3), SubBlock("ffn", "ffn", 7, 1, 2, 1, 3)),
    )
    assert structure.with_units({"attention": 0}, 5).num_params() == 7 * (2 * 5 + 1) + 15
    assert structure.with_units({"attention": 0, "ffn": 0}, 5).num_params() == 0


def test_sparsity_is_the_fraction_of_layer_parameters_that_is_gone() -> None:
    original = Structure(10, (SubBlock("ffn", "ffn", 8, 1, 2, 0, 0),))
    pruned = original.with_units({"ffn": 4}, 5)
    assert pruned.sparsity_relative_to(original) == pytest.approx(0.75)
    assert original.sparsity_relative_to(original) == 0.0


def test_other_units_and_ranks_leave_the_original_untouched() -> None:
    original = Structure(4, (SubBlock("ffn", "ffn", 8, 1, 2, 1, 3),), {"ffn.up": 8})
    changed = original.with_units({"ffn": 2}, 3).with_ranks({"ffn.up": 12})
    assert (changed.hidden_size, changed.sub_blocks[0].num_units, changed.ranks) == (
        3,
        2,
        {"ffn.up": 12},
    )
    assert (original.hidden_size, original.sub_blocks[0].num_units, original.ranks) == (
        4,
        8,
        {"ffn.up": 8},
    )


def test_a_structure_survives_json() -> None:
    structure = roberta_base().with_ranks({"roberta.encoder.layer.0.attention.self.query": 8})
    assert Structure.from_json(json.loads(json.dumps(structure.to_json()))) == structure

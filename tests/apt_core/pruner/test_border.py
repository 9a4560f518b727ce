"""The evidence of a choice: by hand, and against what the search itself decided."""

import json

import numpy as np
import pytest
import torch

from apt_core.models.structure import Structure, SubBlock
from apt_core.models.surgery_record import KeptBlocks
from apt_core.pruner.border import describe_border
from apt_core.pruner.cost import PARAMS
from apt_core.pruner.search import BlockSalience, Floors, block_densities, search_blocks
from apt_core.report import SALIENCE_QUANTILES
from tests.apt_core.pruner.test_search import random_roberta_salience
from tests.reference.structures import roberta_base

# Hidden size 2: a head frees 4 * 2 weights, a neuron 2 * 2, a hidden dimension 2 * 4 + 3 * 2 = 14.
STRUCTURE = Structure(
    2,
    (
        SubBlock("attention", "attention", 2, 1, 4, 0, 0),
        SubBlock("ffn", "ffn", 3, 1, 2, 0, 0),
    ),
)
SALIENCE = BlockSalience(
    {"attention": torch.tensor([8.0, 16.0]), "ffn": torch.tensor([12.0, 4.0, 20.0])},
    torch.tensor([28.0, 14.0]),
)


def test_the_blocks_beside_the_border_by_hand() -> None:
    units = {"attention": torch.tensor([1]), "ffn": torch.tensor([0, 2])}
    border = describe_border(STRUCTURE, SALIENCE, KeptBlocks(units, torch.tensor([0])))
    assert border["head"] == {
        "num": 2,
        "num_kept": 1,
        "quantiles": [1.0, 1.05, 1.25, 1.5, 1.75, 1.95, 2.0],
        "last_kept": [{"group": "attention", "index": 1, "salience": 16.0, "density": 2.0}],
        "first_cut": [{"group": "attention", "index": 0, "salience": 8.0, "density": 1.0}],
    }
    neurons = border["neuron"]
    assert [(b["index"], b["density"]) for b in neurons["last_kept"]] == [(0, 3.0), (2, 5.0)]
    assert [(b["index"], b["density"]) for b in neurons["first_cut"]] == [(1, 1.0)]
    dims = border["hidden_dim"]
    assert [b["density"] for b in dims["last_kept"] + dims["first_cut"]] == [2.0, 1.0]
    assert json.loads(json.dumps(border)) == border


def test_without_floors_no_kept_block_stands_below_a_cut_one() -> None:
    structure, salience = roberta_base(), random_roberta_salience()
    kept = search_blocks(structure, salience, 0.4 * structure.num_params(), Floors())
    border = describe_border(structure, salience, kept)
    lowest = min(b["density"] for part in border.values() for b in part["last_kept"])
    highest = max(b["density"] for part in border.values() for b in part["first_cut"])
    assert lowest >= highest
    assert border["hidden_dim"]["num_kept"] == len(kept.hidden)
    heads = sum(len(kept.units[s.name]) for s in structure.of_kind("attention"))
    assert (border["head"]["num"], border["head"]["num_kept"]) == (144, heads)


def test_quantiles_are_numpys() -> None:
    structure, salience = roberta_base(), random_roberta_salience()
    kept = search_blocks(structure, salience, structure.num_params(), Floors())
    density = block_densities(structure, salience, PARAMS)[-structure.hidden_size :].numpy()
    expected = np.quantile(density, SALIENCE_QUANTILES)
    described = describe_border(structure, salience, kept)["hidden_dim"]
    assert described["quantiles"] == pytest.approx(expected, rel=1e-5)
    assert described["first_cut"] == []


def test_a_kind_of_which_nothing_is_left_is_not_told() -> None:
    structure = STRUCTURE.with_units({"attention": 0}, 2)
    salience = BlockSalience({"ffn": SALIENCE.units["ffn"]}, SALIENCE.hidden)
    units = {"attention": torch.tensor([], dtype=torch.long), "ffn": torch.tensor([0])}
    border = describe_border(structure, salience, KeptBlocks(units, torch.tensor([0, 1])))
    assert list(border) == ["neuron", "hidden_dim"]

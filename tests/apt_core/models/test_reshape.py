"""A fresh model takes the shape that surgeries and growth have led another one to."""

from typing import Any

import torch

from apt_core.models.reshape import reshape_model
from apt_core.models.surgery_record import KeptBlocks
from apt_core.pruner.surgery import prune_model
from apt_core.tuner.grow import grow_adapters
from tests.tiny import tiny_batch, tiny_model


def test_a_fresh_model_can_load_what_a_pruned_and_grown_one_saved() -> None:
    loaded, structure = tiny_model()
    units = {s.name: torch.arange(1, s.num_units, 2) for s in structure.sub_blocks}
    units[structure.sub_blocks[2].name] = torch.arange(0)
    kept = KeptBlocks(units, torch.tensor([0, 3, 4, 9, 15]))
    wanted = prune_model(loaded.model, loaded.model_map, structure, kept).structure_after
    grown = {site: 4 + i for i, site in enumerate(wanted.ranks)}
    growth = grow_adapters(loaded.model, wanted, grown, init_std=None, seed=0)
    wanted = growth.structure_after

    fresh, present = tiny_model(seed=5)
    reshape_model(fresh.model, fresh.model_map, present, wanted)
    fresh.model.load_state_dict(loaded.model.state_dict())
    batch = tiny_batch(labels=False)
    expected = loaded.model.eval()(**batch).logits
    assert torch.equal(fresh.model.eval()(**batch).logits, expected)
    trainable = {n for n, p in loaded.model.named_parameters() if p.requires_grad}
    assert {n for n, p in fresh.model.named_parameters() if p.requires_grad} == trainable


def test_the_same_shape_changes_nothing() -> None:
    loaded, structure = tiny_model()
    before = dict(loaded.model.named_parameters())
    reshape_model(loaded.model, loaded.model_map, structure, structure)
    after = dict(loaded.model.named_parameters())
    assert before.keys() == after.keys()
    assert all(after[name] is parameter for name, parameter in before.items())


def test_a_lower_rank_is_reached_too() -> None:
    loaded, structure = tiny_model(rank=3)
    wanted = structure.with_ranks(dict.fromkeys(structure.ranks, 2))
    reshape_model(loaded.model, loaded.model_map, structure, wanted)
    for site in structure.ranks:
        layer: Any = loaded.model.get_submodule(site)
        assert (layer.rank, len(layer.lora_a), layer.lora_b.shape[1]) == (2, 2, 2)

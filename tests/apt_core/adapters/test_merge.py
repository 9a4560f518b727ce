"""Merging returns to stock layers that compute the same."""

from typing import Any

import pytest
import torch
from torch import nn

from apt_core.adapters.linear import APTLinear
from apt_core.adapters.merge import merge_adapters
from apt_core.adapters.norm import MaskedLayerNorm
from apt_core.models.loading import build_model
from apt_core.pruner.masks import BlockMasks, apply_masks
from tests.tiny import tiny_batch, tiny_config, tiny_model


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_a_merged_model_is_stock_and_computes_the_same(family: str) -> None:
    loaded, _ = tiny_model(family)
    model, batch = loaded.model.eval(), tiny_batch(labels=False)
    before = model(**batch).logits
    assert merge_adapters(model) is model
    torch.testing.assert_close(model(**batch).logits, before, atol=1e-5, rtol=0)
    assert not any(isinstance(m, APTLinear | MaskedLayerNorm) for m in model.modules())
    stock = build_model(tiny_config(family)).model
    assert {n: t.shape for n, t in model.state_dict().items()} == {
        n: t.shape for n, t in stock.state_dict().items()
    }
    assert [(n, type(m)) for n, m in model.named_modules()] == [
        (n, type(m)) for n, m in stock.named_modules()
    ]


def test_the_branch_is_really_folded_in() -> None:
    loaded, structure = tiny_model()
    site = next(iter(structure.ranks))
    layer = loaded.model.get_submodule(site)
    frozen, expected = layer.weight.detach().clone(), layer.merged_weight()
    merged: Any = merge_adapters(loaded.model).get_submodule(site)
    assert torch.equal(merged.weight, expected)
    assert not torch.allclose(merged.weight, frozen)
    assert (merged.in_features, merged.out_features) == (16, 16)


def test_the_layer_that_was_merged_is_left_alone() -> None:
    stock: Any = nn.Linear(3, 4)
    layer = APTLinear(stock.weight, stock.bias, rank=2)
    nn.init.ones_(layer.lora_b)
    frozen = stock.weight.detach().clone()
    model = merge_adapters(nn.Sequential(layer))
    assert torch.equal(stock.weight, frozen)
    assert model[0].weight is not stock.weight


def test_the_eps_of_a_norm_survives() -> None:
    model = nn.Sequential(MaskedLayerNorm(nn.LayerNorm(4, eps=0.25)))
    assert merge_adapters(model)[0].eps == 0.25


@pytest.mark.parametrize("masked", ["hidden", "units"])
def test_a_model_with_masks_is_refused_by_name(masked: str) -> None:
    loaded, structure = tiny_model()
    masks = BlockMasks(structure)
    apply_masks(loaded.model, loaded.model_map, masks)
    if masked == "units":
        for module in loaded.model.modules():
            if isinstance(module, MaskedLayerNorm):
                module.set_mask(None)
    else:
        for module in loaded.model.modules():
            if isinstance(module, APTLinear):
                module.input_mask = module.output_mask = None
    where = {"hidden": r"LayerNorm", "units": r"attention\.output\.dense"}[masked]
    with pytest.raises(ValueError, match=rf"{where} still carries a mask"):
        merge_adapters(loaded.model)

"""Factors folded into weights compute what masks with the same values compute."""

from typing import Any

import pytest
import torch
from torch import nn

from apt_core.adapters.linear import APTLinear
from apt_core.models.arch import ModelMap
from apt_core.models.calls import call_model
from apt_core.models.spec import HeadKind
from apt_core.models.structure import Structure
from apt_core.models.surgery_record import KeptBlocks
from apt_core.pruner.fold import fold_masks, fold_unit_scales
from apt_core.pruner.masks import BlockMasks, apply_masks, is_silent
from apt_core.pruner.surgery import prune_model
from tests.tiny import CASES, tiny_batch, tiny_model


@pytest.mark.parametrize("family", ["bert", "distilbert", "t5-gated", "llama"])
def test_the_folded_model_computes_what_the_masked_one_does(family: str) -> None:
    loaded, structure = tiny_model(family)
    head = loaded.model_map.head_kind
    batch = tiny_batch(head_kind=head)
    masks = BlockMasks(structure)
    generator = torch.Generator().manual_seed(3)
    masks.units = {n: 0.5 + torch.rand(len(m), generator=generator) for n, m in masks.units.items()}
    model = loaded.model.eval()
    plain = call_model(model, head, batch).logits
    apply_masks(model, loaded.model_map, masks)
    masked = call_model(model, head, batch).logits
    apply_masks(model, loaded.model_map, None)

    surgery = fold_unit_scales(model, loaded.model_map, structure, masks.units, prefix="student.")

    folded = call_model(model, head, batch).logits
    assert (folded - masked).abs().max() <= 1e-5
    assert (folded - plain).abs().max() > 1e-4
    names = {f"student.{name}" for name, _ in model.named_parameters()}
    assert surgery.removed == surgery.added
    assert surgery.removed <= names
    assert not surgery.edits


def test_a_teacher_that_shares_the_weights_keeps_them() -> None:
    loaded, structure = tiny_model("bert")
    writer = loaded.model.get_submodule(loaded.model_map.sub_blocks[0].writer.path)
    assert isinstance(writer, APTLinear)
    shared, before = writer.weight, writer.weight.detach().clone()
    name = structure.sub_blocks[0].name
    scales = {name: torch.full((structure.sub_blocks[0].num_units,), 2.0)}
    fold_unit_scales(loaded.model, loaded.model_map, structure, scales)
    assert torch.equal(shared, before)
    assert torch.equal(writer.weight, 2 * before)


def soft_masks(structure: Structure) -> BlockMasks:
    """Masks between 0.2 and 1 on everything, a share of the blocks and one sub-block at 0."""
    generator = torch.Generator().manual_seed(5)

    def draw(size: int) -> torch.Tensor:
        mask = 0.2 + 0.8 * torch.rand(size, generator=generator)
        mask[1::3] = 0.0
        return mask

    masks = BlockMasks(structure)
    masks.units = {name: draw(len(mask)) for name, mask in masks.units.items()}
    masks.sub_blocks = {
        name: 0.3 + 0.6 * torch.rand((), generator=generator) for name in masks.units
    }
    masks.sub_blocks[structure.sub_blocks[1].name] = torch.tensor(0.0)
    masks.hidden = draw(structure.hidden_size)
    return masks


def cut(model: nn.Module, model_map: ModelMap, structure: Structure, masks: BlockMasks) -> None:
    """Cut what is masked with 0, and fold the rest."""
    units = {
        name: torch.arange(0) if is_silent(masks, name) else mask.nonzero().flatten()
        for name, mask in masks.units.items()
    }
    kept = KeptBlocks(units, masks.hidden.nonzero().flatten())
    after = prune_model(model, model_map, structure, kept).structure_after
    left = BlockMasks(after)
    left.units = {name: masks.units[name][indices] for name, indices in units.items()}
    left.sub_blocks = masks.sub_blocks
    left.hidden = masks.hidden[kept.hidden]
    fold_masks(model, model_map, after, left)


@pytest.mark.parametrize(("family", "head"), CASES)
def test_cut_and_folded_equals_softly_masked(family: str, head: HeadKind) -> None:
    loaded, structure = tiny_model(family, head_kind=head)
    model, model_map = loaded.model.eval(), loaded.model_map
    adapt_writers(model, model_map)
    batch = tiny_batch(head_kind=head)
    masks = soft_masks(structure)
    plain = call_model(model, head, batch).loss.detach()
    apply_masks(model, model_map, masks)
    outputs = call_model(model, head, batch)
    masked = [o.detach() for o in predictions(outputs)]
    assert float((outputs.loss.detach() - plain).abs()) > 1e-3
    apply_masks(model, model_map, None)

    cut(model, model_map, structure, masks)

    found = predictions(call_model(model, head, batch))
    for ours, wanted in zip(found, masked, strict=True):
        assert (ours - wanted).abs().max() <= 1e-5


def predictions(outputs: Any) -> list[torch.Tensor]:
    if hasattr(outputs, "start_logits"):
        return [outputs.start_logits, outputs.end_logits]
    return [outputs.logits]


def adapt_writers(model: nn.Module, model_map: ModelMap) -> None:
    """Adapters also where no arm puts them by default, so that theirs are folded too."""
    for sub_block in model_map.sub_blocks:
        writer = model.get_submodule(sub_block.writer.path)
        assert isinstance(writer, APTLinear)
        lora_a = 0.1 * torch.randn(2, writer.in_features)
        writer.set_branch(lora_a, 0.1 * torch.randn(writer.out_features, 2))


def test_folding_makes_new_parameters_of_all_that_it_touches() -> None:
    loaded, structure = tiny_model("bert")
    masks = BlockMasks(structure)
    masks.hidden = torch.full_like(masks.hidden, 0.5)
    before = dict(loaded.model.named_parameters())
    values = {name: parameter.detach().clone() for name, parameter in before.items()}
    surgery = fold_masks(loaded.model, loaded.model_map, structure, masks)
    after = dict(loaded.model.named_parameters())
    assert surgery.added == surgery.removed == {n for n in before if after[n] is not before[n]}
    assert any("LayerNorm" in name for name in surgery.added)
    assert all(torch.equal(before[name], values[name]) for name in before)
    learns = {n: p.requires_grad for n, p in after.items()}
    assert learns == {n: p.requires_grad for n, p in before.items()}

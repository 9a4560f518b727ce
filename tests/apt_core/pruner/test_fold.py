"""Factors folded into weights compute what masks with the same values compute."""

import pytest
import torch

from apt_core.models.calls import call_model
from apt_core.pruner.fold import fold_unit_scales
from apt_core.pruner.masks import BlockMasks, apply_masks
from tests.tiny import tiny_batch, tiny_model


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
    shared, before = writer.weight, writer.weight.detach().clone()
    name = structure.sub_blocks[0].name
    scales = {name: torch.full((structure.sub_blocks[0].num_units,), 2.0)}
    fold_unit_scales(loaded.model, loaded.model_map, structure, scales)
    assert torch.equal(shared, before)
    assert torch.equal(writer.weight, 2 * before)

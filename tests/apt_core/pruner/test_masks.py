"""How masks move, and where they enter a model."""

from typing import Any

import pytest
import torch

from apt_core.models.surgery_record import KeptBlocks
from apt_core.pruner.masks import BlockMasks, apply_masks, binary_masks
from apt_core.pruner.surgery import prune_model
from tests.tiny import tiny_batch, tiny_model


def keep_even(structure):
    units = {s.name: torch.arange(0, s.num_units, 2) for s in structure.sub_blocks}
    return KeptBlocks(units, torch.arange(0, structure.hidden_size, 2))


def test_a_hundred_steps_of_one_percent_end_at_zero_exactly():
    _, structure = tiny_model()
    masks, kept = BlockMasks(structure), keep_even(structure)
    for step in range(1, 101):
        masks.step_toward(kept, 0.01)
        expected = round(1.0 - 0.01 * step, 6)
        assert masks.hidden[1].item() == pytest.approx(expected, abs=1e-7)
        assert (masks.hidden[1] == 0) == (step == 100)
    assert masks.hidden.tolist() == [1.0, 0.0] * 8
    assert all(mask.tolist() == [1.0, 0.0] * (len(mask) // 2) for mask in masks.units.values())


def test_masks_stay_between_zero_and_one_and_can_come_back():
    _, structure = tiny_model()
    masks, kept = BlockMasks(structure), keep_even(structure)
    others = KeptBlocks(
        {n: k + 1 for n, k in kept.units.items()}, torch.arange(1, structure.hidden_size, 2)
    )
    masks.step_toward(kept, 0.4)
    masks.step_toward(others, 0.3)
    assert masks.hidden[:2].tolist() == pytest.approx([0.7, 0.9])
    masks.step_toward(others, 0.3)
    assert masks.hidden[:2].tolist() == pytest.approx([0.4, 1.0])
    name = structure.sub_blocks[1].name
    assert masks.units[name][:2].tolist() == pytest.approx([0.4, 1.0])


def test_masks_are_open_as_soon_as_one_value_is_not_one():
    _, structure = tiny_model()
    masks = BlockMasks(structure)
    assert not masks.is_open
    masks.units[structure.sub_blocks[-1].name][3] = 0.99
    assert masks.is_open
    masks = BlockMasks(structure)
    masks.hidden[0] = 0.0
    assert masks.is_open


def test_a_saved_state_comes_back_as_a_copy():
    _, structure = tiny_model()
    masks = binary_masks(structure, keep_even(structure))
    state, restored = masks.state(), BlockMasks(structure)
    restored.load_state(state)
    assert torch.equal(restored.hidden, masks.hidden)
    assert all(torch.equal(restored.units[n], masks.units[n]) for n in masks.units)
    restored.hidden[0] = 0.5
    restored.units[structure.sub_blocks[0].name][0] = 0.5
    assert state["hidden"][0] == 1.0
    assert state[f"units.{structure.sub_blocks[0].name}"][0] == 1.0


def test_each_mask_enters_once_on_either_side_of_the_writer_and_behind_every_norm():
    loaded, structure = tiny_model()
    masks = BlockMasks(structure)
    attention, ffn = structure.sub_blocks[:2]
    masks.units[attention.name] = torch.tensor([1.0, 0.5, 0.0, 0.25])
    masks.units[ffn.name] = torch.rand(24)
    masks.hidden = torch.rand(16)
    apply_masks(loaded.model, loaded.model_map, masks)
    layer: Any = loaded.model.get_submodule("roberta.encoder.layer.0")
    writer = layer.attention.output.dense
    # A head of 4 channels repeats its mask 4 times, in a row.
    expected = [1.0] * 4 + [0.5] * 4 + [0.0] * 4 + [0.25] * 4
    assert writer.input_mask.tolist() == expected
    assert torch.equal(writer.output_mask, masks.hidden)
    assert torch.equal(layer.output.dense.input_mask, masks.units[ffn.name])
    for reader in (layer.attention.self.query, layer.intermediate.dense):
        assert reader.input_mask is None
        assert reader.output_mask is None
    for path in loaded.model_map.norms():
        norm: Any = loaded.model.get_submodule(path)
        assert torch.equal(norm.mask, masks.hidden)


def test_masks_of_ones_change_nothing_and_none_takes_them_out():
    loaded, structure = tiny_model()
    model, batch = loaded.model.eval(), tiny_batch(labels=False)
    before = model(**batch).logits
    apply_masks(model, loaded.model_map, BlockMasks(structure))
    torch.testing.assert_close(model(**batch).logits, before, atol=1e-6, rtol=0)
    units = {s.name: torch.arange(0) for s in structure.sub_blocks}
    apply_masks(
        model,
        loaded.model_map,
        binary_masks(structure, KeptBlocks(units, torch.arange(3))),
    )
    assert not torch.allclose(model(**batch).logits, before)
    apply_masks(model, loaded.model_map, None)
    assert torch.equal(model(**batch).logits, before)


def test_a_sub_block_without_units_is_silent_and_comes_back_with_its_first_unit():
    loaded, structure = tiny_model()
    masks = BlockMasks(structure)
    name = structure.sub_blocks[2].name
    masks.units[name] = torch.zeros(4)
    apply_masks(loaded.model, loaded.model_map, masks)
    output: Any = loaded.model.get_submodule("roberta.encoder.layer.1.attention.output")
    assert output.LayerNorm.is_bypassed
    stream, context = torch.randn(1, 2, 16), torch.randn(1, 2, 16)
    assert torch.equal(output.eval()(context, stream), stream)
    masks.units[name][1] = 0.01
    apply_masks(loaded.model, loaded.model_map, masks)
    assert not output.LayerNorm.is_bypassed
    assert torch.equal(output.dense.output_mask, masks.hidden)


def test_sub_blocks_that_are_gone_are_passed_over():
    loaded, structure = tiny_model()
    units = {s.name: torch.arange(s.num_units) for s in structure.sub_blocks}
    for s in structure.sub_blocks[:3]:
        units[s.name] = torch.arange(0)
    kept = KeptBlocks(units, torch.arange(10))
    after = prune_model(loaded.model, loaded.model_map, structure, kept).structure_after
    masks = BlockMasks(after)
    masks.hidden[4] = 0.0
    model, batch = loaded.model.eval(), tiny_batch(labels=False)
    before = model(**batch).logits
    apply_masks(model, loaded.model_map, masks)
    assert not torch.allclose(model(**batch).logits, before)
    apply_masks(model, loaded.model_map, None)
    assert torch.equal(model(**batch).logits, before)


def test_masks_take_the_type_of_the_weights():
    loaded, structure = tiny_model()
    loaded.model.to(torch.bfloat16)
    apply_masks(loaded.model, loaded.model_map, BlockMasks(structure))
    writer = loaded.model.get_submodule("roberta.encoder.layer.0.output.dense")
    assert writer.input_mask.dtype is torch.bfloat16
    assert loaded.model.get_submodule("roberta.embeddings.LayerNorm").mask.dtype is torch.bfloat16

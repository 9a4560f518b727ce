import copy
from itertools import pairwise

import pytest
import torch

from apt_core.adapters.merge import merge_adapters
from apt_core.errors import SurgeryError
from apt_core.models.export import export_model, load_pruned
from apt_core.models.surgery_record import KeptBlocks
from apt_core.pruner.masks import apply_masks, binary_masks
from apt_core.pruner.surgery import kept_channels, prune_model, structure_after
from tests.tiny import tiny_batch, tiny_model


def random_kept(structure, *, seed, dead=()):
    """Random kept blocks; sub-blocks whose name ends with one of `dead` lose all units."""
    generator = torch.Generator().manual_seed(seed)

    def some(size):
        mask = torch.rand(size, generator=generator) < 0.6
        mask[int(torch.randint(size, (1,), generator=generator))] = True
        return mask.nonzero().flatten()

    units = {
        s.name: torch.arange(0) if s.name.endswith(tuple(dead) or ("?",)) else some(s.num_units)
        for s in structure.sub_blocks
    }
    return KeptBlocks(units, some(structure.hidden_size))


DEAD = {
    "nothing dead": (),
    "a layer without heads": ("1.attention",),
    "a layer without neurons": ("0.ffn",),
    "a whole layer gone": ("2.attention", "2.ffn"),
    "all attention gone": (".attention",),
}


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize("dead", DEAD.values(), ids=DEAD)
def test_masked_equals_sliced_equals_exported_and_reloaded(family, dead, tmp_path):
    loaded, structure = tiny_model(family, seed=1)
    model, batch = loaded.model.eval(), tiny_batch(labels=False)
    kept = random_kept(structure, seed=2, dead=dead)

    apply_masks(model, loaded.model_map, binary_masks(structure, kept))
    with torch.no_grad():
        masked = model(**batch).logits
    apply_masks(model, loaded.model_map, None)
    surgery = prune_model(model, loaded.model_map, structure, kept)
    with torch.no_grad():
        sliced = model(**batch).logits
    merged = merge_adapters(copy.deepcopy(model))
    folder = export_model(merged, loaded.config, surgery.structure_after, tmp_path / "export")
    with torch.no_grad():
        reloaded = load_pruned(folder)(**batch).logits

    torch.testing.assert_close(masked, sliced, atol=1e-5, rtol=0)
    torch.testing.assert_close(merged(**batch).logits, sliced, atol=1e-5, rtol=0)
    torch.testing.assert_close(reloaded, sliced, atol=1e-5, rtol=0)


def test_masks_change_the_output_at_all():
    loaded, structure = tiny_model()
    model, batch = loaded.model.eval(), tiny_batch(labels=False)
    before = model(**batch).logits
    apply_masks(model, loaded.model_map, binary_masks(structure, random_kept(structure, seed=3)))
    assert (model(**batch).logits - before).abs().max() > 1e-3


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_the_structure_counts_the_parameters_that_are_really_left(family):
    loaded, structure = tiny_model(family)
    kept = random_kept(structure, seed=4, dead=("1.attention", "2.ffn"))
    surgery = prune_model(loaded.model, loaded.model_map, structure, kept)
    layers = loaded.model.get_submodule(f"{family}.encoder.layer")
    counted = sum(p.numel() for n, p in layers.named_parameters() if "lora_" not in n)
    assert counted == surgery.structure_after.num_params()
    assert surgery.structure_after.num_params() < structure.num_params()


def test_the_record_names_every_parameter_that_changed_and_how():
    loaded, structure = tiny_model()
    before = {n: p.detach().clone() for n, p in loaded.model.named_parameters()}
    kept = random_kept(structure, seed=5, dead=("1.attention",))
    surgery = prune_model(loaded.model, loaded.model_map, structure, kept, prefix="student.")
    after = dict(loaded.model.named_parameters())

    assert {f"student.{n}" for n in before if n not in after} == set(surgery.removed)
    for name, parameter in after.items():
        edit = surgery.edits.get(f"student.{name}")
        expected = before[name] if edit is None else edit.apply(before[name])
        torch.testing.assert_close(parameter.detach(), expected, atol=0, rtol=0)


def test_adapters_of_a_removed_sub_block_leave_the_structure():
    loaded, structure = tiny_model()
    kept = random_kept(structure, seed=6, dead=("1.attention",))
    after = structure_after(structure, kept, loaded.model_map)
    gone = set(structure.ranks) - set(after.ranks)
    assert gone == {s for s in structure.ranks if ".layer.1.attention." in s}


def test_a_second_surgery_continues_from_the_first():
    loaded, structure = tiny_model()
    model, batch = loaded.model.eval(), tiny_batch(labels=False)
    for seed in (7, 8):
        kept = random_kept(structure, seed=seed)
        apply_masks(model, loaded.model_map, binary_masks(structure, kept))
        masked = model(**batch).logits.detach()
        apply_masks(model, loaded.model_map, None)
        structure = prune_model(model, loaded.model_map, structure, kept).structure_after
        torch.testing.assert_close(model(**batch).logits, masked, atol=1e-5, rtol=0)


def test_a_teacher_that_shares_weights_keeps_them_whole():
    loaded, structure = tiny_model()
    weight = loaded.model.get_submodule("roberta.encoder.layer.0.output.dense").weight
    prune_model(loaded.model, loaded.model_map, structure, random_kept(structure, seed=9))
    assert weight.shape == (16, 24)


def test_a_structure_that_does_not_fit_is_refused_by_name():
    loaded, structure = tiny_model()
    kept = random_kept(structure, seed=10)
    wrong = structure.with_units({structure.sub_blocks[0].name: 7}, structure.hidden_size)
    with pytest.raises(SurgeryError, match=r"layer\.0\.attention\.self\.query\.weight"):
        prune_model(loaded.model, loaded.model_map, wrong, kept)


def test_kept_channels_are_those_of_whole_units():
    # Units 0 and 2 of width 3 own channels 0-2 and 6-8.
    assert kept_channels(torch.tensor([0, 2]), 3).tolist() == [0, 1, 2, 6, 7, 8]


def test_soft_masks_lie_between_the_dense_and_the_binary_model():
    loaded, structure = tiny_model()
    model, batch = loaded.model.eval(), tiny_batch(labels=False)
    kept = random_kept(structure, seed=11)
    outputs = []
    masks = binary_masks(structure, kept)
    final = model(**batch).logits
    apply_masks(model, loaded.model_map, masks)
    target = model(**batch).logits
    for size in (0.9, 0.5, 0.1):
        soft = binary_masks(structure, kept)
        soft.hidden = size + (1 - size) * soft.hidden
        soft.units = {n: size + (1 - size) * m for n, m in soft.units.items()}
        apply_masks(model, loaded.model_map, soft)
        outputs.append((model(**batch).logits - final).abs().sum().item())
    assert all(a < b for a, b in pairwise(outputs))
    assert (target - final).abs().sum() > 0

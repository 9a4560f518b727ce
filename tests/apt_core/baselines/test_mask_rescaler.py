"""Factors of kept units: least squares on what the masked model reads, in fp64 and spelt out."""

import pytest
import torch

from apt_core.baselines import mask_rescaler
from apt_core.baselines.mask_factors import DAMPING
from apt_core.baselines.mask_rescaler import MAX_BATCHES, MaskRescaler
from apt_core.models.calls import call_model, token_masks
from apt_core.models.surgery_record import KeptBlocks
from apt_core.pruner.masks import apply_masks, binary_masks
from tests.tiny import tiny_batch, tiny_model


def scene(family: str, head_kind=None):
    loaded, structure = tiny_model(family, head_kind=head_kind)
    head = loaded.model_map.head_kind
    batches = [tiny_batch(head_kind=head, seed=seed) for seed in (1, 2)]
    # Every second unit, and the second attention is gone.
    units = {
        s.name: torch.arange(0, 0 if i == 2 else s.num_units, 2)
        for i, s in enumerate(structure.sub_blocks)
    }
    kept = KeptBlocks(units, torch.arange(structure.hidden_size))
    return loaded, loaded.model.eval(), structure, kept, batches


@torch.no_grad()
def stream_behind(model, model_map, sub_block, batches, masks):
    """The residual stream behind a sub-block as the layer after it sees it, real tokens only."""
    apply_masks(model, model_map, masks)
    if model_map.spec.is_pre_norm:
        module = model_map.stacks[sub_block.stack].layers[sub_block.layer]
        handle = model.get_submodule(module).register_forward_hook(
            lambda _, __, output: seen.append(output if torch.is_tensor(output) else output[0])
        )
    else:
        handle = model.get_submodule(sub_block.norm).register_forward_pre_hook(
            lambda _, args: seen.append(args[0])
        )
    rows = []
    for batch in batches:
        seen: list[torch.Tensor] = []
        call_model(model, model_map.head_kind, batch)
        is_real = token_masks(model_map.head_kind, batch)[sub_block.stream] != 0
        rows.append(seen[0][is_real].flatten())
    handle.remove()
    apply_masks(model, model_map, None)
    return torch.cat(rows).double()


@pytest.mark.parametrize(
    ("family", "index"),
    # In front of the norms of post-norm families; behind whole layers of the others.
    [
        ("bert", 0),
        ("bert", 1),
        ("bert", 3),
        ("distilbert", 4),
        ("t5-gated", 1),
        ("t5-gated", 3),
        ("t5-gated", 8),
        ("llama", 1),
        ("llama", 5),
    ],
)
def test_factors_solve_the_damped_problem_one_sub_block_after_the_other(family, index) -> None:
    loaded, model, structure, kept, batches = scene(family)
    model_map = loaded.model_map
    factors = MaskRescaler(model_map).factors(model, structure, kept, batches)
    sub_block = model_map.sub_blocks[index]
    units = kept.units[sub_block.name]
    masks = binary_masks(structure, kept)
    for earlier in model_map.sub_blocks[:index]:
        if earlier.name in factors:
            masks.units[earlier.name][kept.units[earlier.name]] = factors[earlier.name].float()

    def stream(present):
        return stream_behind(model, model_map, sub_block, batches, present)

    # The stream is linear in this sub-block's own masks: one column per unit.
    whole, now = stream(None), stream(masks)
    columns = []
    for unit in units.tolist():
        masks.units[sub_block.name][unit] = 0.0
        columns.append(now - stream(masks))
        masks.units[sub_block.name][unit] = 1.0
    terms = torch.stack(columns, dim=1)
    strength = (DAMPING * terms.square().sum(dim=0).mean()).sqrt()
    rows = torch.cat([terms, strength * torch.eye(len(units), dtype=torch.float64)])
    wanted = torch.cat([whole - now, torch.zeros(len(units), dtype=torch.float64)])
    expected = 1 + torch.linalg.lstsq(rows, wanted).solution
    assert (expected - 1).abs().max() > 0.01
    torch.testing.assert_close(factors[sub_block.name], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("family", "head"),
    [("bert", None), ("roberta", "question_answering"), ("t5-gated", None), ("llama", None)],
)
def test_rescaling_brings_the_last_stream_nearer_to_the_unpruned_one(family, head) -> None:
    loaded, model, structure, kept, batches = scene(family, head)
    model_map = loaded.model_map
    factors = MaskRescaler(model_map).factors(model, structure, kept, batches)
    assert set(factors) == {name for name, units in kept.units.items() if len(units)}
    last = model_map.sub_blocks[-1]
    whole = stream_behind(model, model_map, last, batches, None)
    masks = binary_masks(structure, kept)
    plain = stream_behind(model, model_map, last, batches, masks)
    for name, values in factors.items():
        masks.units[name][kept.units[name]] = values.float()
    rescaled = stream_behind(model, model_map, last, batches, masks)
    assert (rescaled - whole).norm() < 0.95 * (plain - whole).norm()


def test_where_everything_stays_all_factors_are_1() -> None:
    loaded, model, structure, _, batches = scene("bert")
    units = {s.name: torch.arange(s.num_units) for s in structure.sub_blocks}
    kept = KeptBlocks(units, torch.arange(structure.hidden_size))
    factors = MaskRescaler(loaded.model_map).factors(model, structure, kept, batches)
    for name, values in factors.items():
        assert values.shape == (len(units[name]),)
        torch.testing.assert_close(values, torch.ones_like(values), rtol=0, atol=1e-4)


def test_padding_does_not_count() -> None:
    loaded, model, structure, kept, batches = scene("bert")
    rescaler = MaskRescaler(loaded.model_map)
    factors = rescaler.factors(model, structure, kept, batches)
    padding = torch.zeros(4, 5, dtype=torch.long)
    longer = [
        batch
        | {
            "input_ids": torch.cat([batch["input_ids"], padding + 1], dim=1),
            "attention_mask": torch.cat([batch["attention_mask"], padding], dim=1),
        }
        for batch in batches
    ]
    again = rescaler.factors(model, structure, kept, longer)
    for name, values in factors.items():
        torch.testing.assert_close(again[name], values, rtol=1e-3, atol=1e-4)


def test_cost_is_two_passes_over_eight_batches_for_each_sub_block_that_stays(monkeypatch) -> None:
    loaded, model, structure, kept, _ = scene("bert")
    calls = []

    def counted(*args, **kwargs):
        calls.append(args[2])
        return call_model(*args, **kwargs)

    monkeypatch.setattr(mask_rescaler, "call_model", counted)
    batches = [tiny_batch(seed=seed) for seed in range(MAX_BATCHES + 3)]
    MaskRescaler(loaded.model_map).factors(model, structure, kept, iter(batches))
    assert len(calls) == 2 * MAX_BATCHES * (len(structure.sub_blocks) - 1)
    assert not any(batch is late for batch in calls for late in batches[MAX_BATCHES:])


def test_no_pass_goes_further_than_it_must() -> None:
    loaded, model, structure, kept, batches = scene("bert")
    first = loaded.model_map.sub_blocks[0].name
    units = {name: own[: len(own) if name == first else 0] for name, own in kept.units.items()}
    passed = []
    layers = loaded.model_map.stacks[0].layers
    for number, path in enumerate(layers):
        model.get_submodule(path).register_forward_pre_hook(lambda *_, n=number: passed.append(n))
    rescaler = MaskRescaler(loaded.model_map)
    rescaler.factors(model, structure, KeptBlocks(units, kept.hidden), batches)
    assert set(passed) == {0}

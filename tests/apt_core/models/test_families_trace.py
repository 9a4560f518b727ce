"""Every block of every family, traced: what stops mattering is what surgery cuts and what it costs.

A block is switched off with its mask. Parameters that then have no gradient any more, and had one
before, are the block's own. The families' data says nothing here: the trace is the judge of it.
"""

import copy

import pytest
import torch
from torch import Tensor, nn

from apt_core.adapters.inject import inject_adapters
from apt_core.adapters.position_bias import table_path
from apt_core.models.calls import call_model
from apt_core.models.loading import LoadedModel, build_model
from apt_core.models.spec import HeadKind
from apt_core.models.surgery_record import KeptBlocks
from apt_core.pruner.masks import apply_masks, binary_masks
from apt_core.pruner.surgery import prune_model
from tests.tiny import CASES, tiny_batch, tiny_config

ALL = pytest.mark.parametrize(("family", "head_kind"), CASES)
NEGLIGIBLE = 1e-13
"""In float64: a gradient that is zero but for rounding (that of a key's bias, say)."""


def traced_model(family: str, head_kind: HeadKind) -> LoadedModel:
    """Float64, every parameter trainable, nothing at its initial 0 or 1."""
    torch.manual_seed(0)
    config = tiny_config(family, num_layers=2)
    if head_kind == "question_answering":
        config.num_labels = 2
    config.update({"hidden_size": 24} if family != "distilbert" else {"dim": 24})
    if head_kind == "seq2seq_lm":
        config.num_decoder_layers = 2  # without its only cross attention no encoder matters
    loaded = build_model(config, head_kind)
    inject_adapters(loaded.model, loaded.model_map, ranks={}, scaling=1.0)
    for sub_block in loaded.model_map.sub_blocks:
        table = table_path(sub_block)
        if table is not None:  # shared until somebody cuts it
            module = loaded.model.get_submodule(table)
            module.weight = nn.Parameter(module.weight.detach().clone())
    loaded.model.double().eval().requires_grad_(True)
    with torch.no_grad():
        for parameter in loaded.model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return loaded


def gradients(loaded: LoadedModel, head_kind: HeadKind) -> dict[str, Tensor]:
    """Sums of absolute gradients over several batches: a ReLU is seldom off in all of them."""
    sums = {name: torch.zeros_like(p) for name, p in loaded.model.named_parameters()}
    for seed in range(4):
        loaded.model.zero_grad()
        batch = tiny_batch(head_kind=head_kind, rows=8, seed=seed)
        outputs = call_model(loaded.model, head_kind, batch)
        pair = head_kind == "question_answering"
        logits = torch.stack([outputs.start_logits, outputs.end_logits]) if pair else outputs.logits
        # Not the loss: a softmax does not see what all its logits have in common.
        weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(seed))
        (logits * weights).sum().backward()
        for name, parameter in loaded.model.named_parameters():
            if parameter.grad is not None:
                sums[name] += parameter.grad.abs()
    return sums


def everything(loaded: LoadedModel) -> KeptBlocks:
    units = {s.name: torch.arange(s.num_units) for s in loaded.structure.sub_blocks}
    return KeptBlocks(units, torch.arange(loaded.structure.hidden_size))


def freed_by_trace(
    loaded: LoadedModel, head_kind: HeadKind, kept: KeptBlocks, before: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Parameter -> which entries stopped mattering."""
    apply_masks(loaded.model, loaded.model_map, binary_masks(loaded.structure, kept))
    after = gradients(loaded, head_kind)
    apply_masks(loaded.model, loaded.model_map, None)
    return {
        name: (before[name].abs() > NEGLIGIBLE) & (grad.abs() <= NEGLIGIBLE)
        for name, grad in after.items()
    }


def cut_by_surgery(loaded: LoadedModel, kept: KeptBlocks) -> dict[str, Tensor]:
    """Parameter -> which entries surgery takes away."""
    shapes = {name: p for name, p in loaded.model.named_parameters()}
    surgery = prune_model(copy.deepcopy(loaded.model), loaded.model_map, loaded.structure, kept)
    cut = {name: torch.zeros(p.shape, dtype=torch.bool) for name, p in shapes.items()}
    for name, edit in surgery.edits.items():
        if name not in cut:
            continue  # another name of a shared parameter
        stays = torch.ones(cut[name].shape, dtype=torch.bool)
        for dim, indices in edit.keep:
            here = torch.zeros(stays.shape[dim], dtype=torch.bool)
            here[indices] = True
            shape = [1] * stays.ndim
            shape[dim] = -1
            stays &= here.reshape(shape)
        cut[name] = ~stays
    for name in surgery.removed:
        cut[name][...] = True
    return cut


def compare(loaded: LoadedModel, traced: dict[str, Tensor], cut: dict[str, Tensor], before) -> None:
    for name, entries in traced.items():
        mattered = before[name].abs() > NEGLIGIBLE
        wrong = entries ^ (cut[name] & mattered)
        if name.startswith(loaded.model_map.head):  # the ReLU of a head may switch off by itself
            wrong = cut[name] & mattered & ~entries
        assert not wrong.any(), f"{name}: {int(wrong.sum())} entries differ"


def count_in_layers(loaded: LoadedModel, cut: dict[str, Tensor]) -> int:
    """Entries cut in the layers; tables of positions are embeddings and stand outside."""
    layers = tuple(f"{path}." for stack in loaded.model_map.stacks for path in stack.layers)
    inside = (n for n in cut if n.startswith(layers) and "relative_attention_bias" not in n)
    return sum(int(cut[name].sum()) for name in inside)


@ALL
def test_a_unit_costs_what_its_trace_frees(family: str, head_kind: HeadKind) -> None:
    loaded = traced_model(family, head_kind)
    before = gradients(loaded, head_kind)
    structure = loaded.structure
    for sub_block in structure.sub_blocks:
        kept = everything(loaded)
        kept.units[sub_block.name] = kept.units[sub_block.name][1:]
        cut = cut_by_surgery(loaded, kept)
        compare(loaded, freed_by_trace(loaded, head_kind, kept, before), cut, before)
        smaller = structure.with_units({sub_block.name: sub_block.num_units - 1}, 24)
        freed = structure.num_params() - smaller.num_params()
        assert count_in_layers(loaded, cut) == freed
        assert freed == structure.unit_cost(sub_block) + sub_block.per_unit


@ALL
def test_a_hidden_dimension_costs_what_its_trace_frees(family: str, head_kind: HeadKind) -> None:
    loaded = traced_model(family, head_kind)
    before = gradients(loaded, head_kind)
    kept = KeptBlocks(everything(loaded).units, torch.tensor([i for i in range(24) if i != 7]))
    cut = cut_by_surgery(loaded, kept)
    compare(loaded, freed_by_trace(loaded, head_kind, kept, before), cut, before)
    structure = loaded.structure
    smaller = structure.with_units({}, 23)
    assert count_in_layers(loaded, cut) == structure.num_params() - smaller.num_params()


@ALL
def test_a_whole_sub_block_costs_what_its_trace_frees(family: str, head_kind: HeadKind) -> None:
    loaded = traced_model(family, head_kind)
    before = gradients(loaded, head_kind)
    structure = loaded.structure
    for sub_block in structure.sub_blocks:
        kept = everything(loaded)
        kept.units[sub_block.name] = torch.arange(0)
        cut = cut_by_surgery(loaded, kept)
        compare(loaded, freed_by_trace(loaded, head_kind, kept, before), cut, before)
        smaller = structure.with_units({sub_block.name: 0}, 24)
        freed = structure.num_params() - smaller.num_params()
        assert count_in_layers(loaded, cut) == freed == sub_block.num_params(24)


@ALL
def test_the_structure_counts_every_parameter_of_the_layers(
    family: str, head_kind: HeadKind
) -> None:
    loaded = traced_model(family, head_kind)
    everywhere = {n: torch.ones(p.shape) for n, p in loaded.model.named_parameters()}
    assert count_in_layers(loaded, everywhere) == loaded.structure.num_params()


@ALL
def test_every_parameter_outside_the_layers_is_known(family: str, head_kind: HeadKind) -> None:
    loaded = traced_model(family, head_kind)
    model_map = loaded.model_map
    layers = tuple(f"{path}." for stack in model_map.stacks for path in stack.layers)
    outside = {id(p) for n, p in loaded.model.named_parameters() if not n.startswith(layers)}
    known = (*model_map.embeddings, *model_map.outer_norms, *model_map.head_readers)
    modules = [loaded.model.get_submodule(path) for path in (*known, *model_map.head)]
    assert outside == {id(p) for module in modules for p in module.parameters()}

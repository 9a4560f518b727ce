"""Cut blocks out of a model for good: the only place where weights are sliced.

Every sliced parameter becomes a new `nn.Parameter`, so that a teacher that shares the old one
keeps it whole.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from apt_core.adapters.linear import APTLinear
from apt_core.adapters.norm import MaskedLayerNorm, MaskedRMSNorm
from apt_core.adapters.position_bias import table_path
from apt_core.errors import SurgeryError
from apt_core.models.arch import ModelMap, SubBlockMap
from apt_core.models.modules import set_submodule
from apt_core.models.pruned_layers import Bypass
from apt_core.models.structure import Structure
from apt_core.models.surgery_record import KeptBlocks, Surgery, TensorEdit


def structure_after(structure: Structure, kept: KeptBlocks, model_map: ModelMap) -> Structure:
    """The structure that a surgery leaves; adapters of removed sub-blocks drop out.

    Args:
        structure: the structure before.
        kept: the blocks that stay.
        model_map: which sub-block an adapter belongs to.

    Returns:
        The structure after.
    """
    units = {name: indices.numel() for name, indices in kept.units.items()}
    ranks = {s: r for s, r in structure.ranks.items() if units[model_map.owner_of(s)] > 0}
    return structure.with_units(units, kept.hidden.numel()).with_ranks(ranks)


def kept_channels(kept_units: Tensor, unit_width: int) -> Tensor:
    """Channels of the kept units: unit u owns u * unit_width ... (u + 1) * unit_width - 1."""
    offsets = torch.arange(unit_width, device=kept_units.device)
    return (kept_units.unsqueeze(1) * unit_width + offsets).flatten()


def prune_model(
    model: nn.Module,
    model_map: ModelMap,
    structure: Structure,
    kept: KeptBlocks,
    *,
    prefix: str = "",
) -> Surgery:
    """Slice a task model to the kept blocks, in place, and say what was done.

    Args:
        model: a task model with injected adapters, unmasked, its parameters full.
        model_map: where its parts are.
        structure: its present structure.
        kept: the blocks that stay, as indices into that structure.
        prefix: put before every parameter name in the record, e.g. ``student.``.

    Returns:
        The record: edits per parameter, removed parameters, structure before and after.

    Raises:
        SurgeryError: a parameter does not have the shape that the structure says.
    """
    edits: dict[str, TensorEdit] = {}
    removed: set[str] = set()
    alive_before = {s.name for s in structure.sub_blocks if s.num_units > 0}
    for sub_block in model_map.sub_blocks:
        if sub_block.name not in alive_before:
            continue
        if kept.units[sub_block.name].numel() == 0:
            removed.update(_remove(model, sub_block))
        else:
            edits.update(_slice_sub_block(model, sub_block, structure, kept))
    edits.update(_slice_shared(model, model_map, structure, kept.hidden))

    return Surgery(
        structure_before=structure,
        structure_after=structure_after(structure, kept, model_map),
        edits={prefix + name: edit for name, edit in edits.items()},
        removed=frozenset(prefix + name for name in removed),
        kept=kept,
    )


def _remove(model: nn.Module, sub_block: SubBlockMap) -> set[str]:
    """Replace a sub-block by bypasses; returns the names of the parameters that went with it."""
    removed: set[str] = set()
    for bypass in sub_block.bypass:
        module = model.get_submodule(bypass.path)
        removed.update(f"{bypass.path}.{name}" for name, _ in module.named_parameters())
        replacement = Bypass(
            bypass.gives,
            input_position=bypass.input_position,
            num_outputs=bypass.num_outputs,
            cache_layer=sub_block.layer if sub_block.is_cached else None,
        )
        set_submodule(model, bypass.path, replacement)
    return removed


def _slice_sub_block(
    model: nn.Module, sub_block: SubBlockMap, structure: Structure, kept: KeptBlocks
) -> dict[str, TensorEdit]:
    num_units = next(s.num_units for s in structure.sub_blocks if s.name == sub_block.name)
    units = _Cut(kept.units[sub_block.name], num_units)
    hidden = _Cut(kept.hidden, structure.hidden_size)
    edits: dict[str, TensorEdit] = {}
    for reader in sub_block.readers:
        rows = units.widened(reader.unit_width)
        edits.update(_slice_linear(model, reader.path, rows=rows, columns=hidden))
    columns = units.widened(sub_block.writer.unit_width)
    edits.update(_slice_linear(model, sub_block.writer.path, rows=hidden, columns=columns))
    table = table_path(sub_block)
    if table is not None:
        edits.update(_edit(model, f"{table}.weight", ((1, units),)))
        _resize_table(model, table)
    return edits


def _slice_shared(
    model: nn.Module, model_map: ModelMap, structure: Structure, kept_hidden: Tensor
) -> dict[str, TensorEdit]:
    """Everything outside the sub-blocks' projections that carries the hidden dimension."""
    hidden = _Cut(kept_hidden, structure.hidden_size)
    edits: dict[str, TensorEdit] = {}
    if hidden.is_whole:
        return edits
    for path in model_map.norms():
        edits.update(_slice_norm(model, path, hidden))
    sliced: dict[nn.Parameter, nn.Parameter] = {}
    for path in (*model_map.embeddings, *model_map.head_readers):
        module = model.get_submodule(path)
        before = module.weight
        assert isinstance(before, nn.Parameter)
        if before in sliced:  # tables and heads may share one parameter: it is cut once
            module.weight = sliced[before]
            continue
        edits.update(_edit(model, f"{path}.weight", ((1, hidden),)))
        after = module.weight
        assert isinstance(after, nn.Parameter)
        sliced |= {before: after, after: after}
    for path in model_map.embeddings:
        _resize_table(model, path)
    for path in model_map.head_readers:
        reader = model.get_submodule(path)
        assert isinstance(reader, nn.Linear)
        reader.in_features = hidden.indices.numel()
    return edits


def _resize_table(model: nn.Module, path: str) -> None:
    table = model.get_submodule(path)
    assert isinstance(table, nn.Embedding)
    table.embedding_dim = table.weight.shape[1]


class _Cut:
    """Which of `size` entries along one dimension stay."""

    def __init__(self, indices: Tensor, size: int) -> None:
        self.indices = indices
        self.size = size

    @property
    def is_whole(self) -> bool:
        return self.indices.numel() == self.size

    def widened(self, width: int) -> "_Cut":
        return _Cut(kept_channels(self.indices, width), self.size * width)


def _slice_linear(
    model: nn.Module, path: str, *, rows: _Cut, columns: _Cut
) -> Iterator[tuple[str, TensorEdit]]:
    layer = model.get_submodule(path)
    assert isinstance(layer, APTLinear)
    yield from _edit(model, f"{path}.weight", ((0, rows), (1, columns)))
    if layer.bias is not None:
        yield from _edit(model, f"{path}.bias", ((0, rows),))
    if layer.rank > 0:
        yield from _edit(model, f"{path}.lora_a", ((1, columns),))
        yield from _edit(model, f"{path}.lora_b", ((0, rows),))
    layer.out_features = rows.indices.numel()
    layer.in_features = columns.indices.numel()


def _slice_norm(model: nn.Module, path: str, hidden: _Cut) -> Iterator[tuple[str, TensorEdit]]:
    try:
        norm = model.get_submodule(path)
    except AttributeError:  # it went with its sub-block
        return
    if isinstance(norm, Bypass):
        return
    assert isinstance(norm, MaskedLayerNorm | MaskedRMSNorm)
    for name, _ in list(norm.named_parameters()):
        yield from _edit(model, f"{path}.{name}", ((0, hidden),))
    norm.hidden_size = hidden.indices.numel()
    norm.set_mask(None)


def _edit(
    model: nn.Module, name: str, cuts: tuple[tuple[int, _Cut], ...]
) -> Iterator[tuple[str, TensorEdit]]:
    """Slice one parameter along the dimensions that lose something, and report it."""
    module_path, _, leaf = name.rpartition(".")
    module = model.get_submodule(module_path)
    parameter = getattr(module, leaf)
    for dim, cut in cuts:
        if parameter.shape[dim] != cut.size:
            raise SurgeryError(
                f"{name}: the structure says size {cut.size} along dimension {dim}, "
                f"the parameter has shape {tuple(parameter.shape)}"
            )
    edit = TensorEdit(keep=tuple((dim, cut.indices) for dim, cut in cuts if not cut.is_whole))
    if edit.keep:
        sliced = nn.Parameter(edit.apply(parameter.detach()), parameter.requires_grad)
        setattr(module, leaf, sliced)
        yield name, edit

"""Fold real-valued block masks into the weights, so that the cut model computes what it did."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from apt_core.adapters.linear import APTLinear
from apt_core.adapters.norm import MaskedLayerNorm, MaskedRMSNorm
from apt_core.models.arch import ModelMap
from apt_core.models.modules import find_submodule
from apt_core.models.structure import Structure
from apt_core.models.surgery_record import Surgery
from apt_core.pruner.masks import BlockMasks, output_factors


def fold_unit_scales(
    model: nn.Module,
    model_map: ModelMap,
    structure: Structure,
    scales: Mapping[str, Tensor],
    *,
    prefix: str = "",
) -> Surgery:
    """Multiply what every head and neuron adds to the residual stream by its own factor, in place.

    The factor of a unit goes into the columns of the projection that writes to the stream, and into
    those of its adapter. Nothing changes shape; parameters that learn start anew in the optimizer,
    as their moments belong to other values.

    Args:
        model: a task model with injected adapters, unmasked.
        model_map: where its parts are.
        structure: its present structure.
        scales: sub-block name -> one factor for each unit that is left; may lack sub-blocks.
        prefix: put before every parameter name in the record, e.g. ``student.``.

    Returns:
        The record.
    """
    touched: set[str] = set()
    for sub_block, shape in zip(model_map.sub_blocks, structure.sub_blocks, strict=True):
        if shape.num_units == 0 or sub_block.name not in scales:
            continue
        factors = scales[sub_block.name].repeat_interleave(sub_block.unit_width)
        touched.update(_scale_columns(model, sub_block.writer.path, factors))
    names = frozenset(prefix + name for name in touched)
    return Surgery(structure, structure, removed=names, added=names)


def fold_masks(
    model: nn.Module,
    model_map: ModelMap,
    structure: Structure,
    masks: BlockMasks,
    *,
    prefix: str = "",
) -> Surgery:
    """Multiply into the weights what `apply_masks` would multiply at run time, in place.

    Units go where `fold_unit_scales` puts them; hidden dimensions, times the factor of a sub-block,
    into the rows of the projections that write to the residual stream, their biases and adapters;
    and hidden dimensions once more into every norm. No mask may be 0: a block that is silent is to
    be cut before.

    Args:
        model: a task model with injected adapters, unmasked.
        model_map: where its parts are.
        structure: its present structure.
        masks: those of this structure.
        prefix: put before every parameter name in the record, e.g. ``student.``.

    Returns:
        The record.
    """
    columns = fold_unit_scales(model, model_map, structure, masks.units, prefix=prefix)
    touched: set[str] = set()
    for sub_block, shape in zip(model_map.sub_blocks, structure.sub_blocks, strict=True):
        if shape.num_units > 0:
            factors = output_factors(masks, sub_block.name)
            touched.update(_scale_rows(model, sub_block.writer.path, factors))
    for path in model_map.norms():
        touched.update(_scale_norm(model, path, masks.hidden))
    names = columns.added | {prefix + name for name in touched}
    return Surgery(structure, structure, removed=names, added=names)


@torch.no_grad()
def _scale_rows(model: nn.Module, path: str, factors: Tensor) -> Iterator[str]:
    layer = model.get_submodule(path)
    assert isinstance(layer, APTLinear)
    for name in ("weight", "bias", "lora_b"):
        parameter = getattr(layer, name)
        if parameter is not None:
            rows = factors.to(parameter)
            _replace(layer, name, parameter * (rows if parameter.ndim == 1 else rows.unsqueeze(1)))
            yield f"{path}.{name}"


@torch.no_grad()
def _scale_norm(model: nn.Module, path: str, factors: Tensor) -> Iterator[str]:
    norm = find_submodule(model, path)
    if isinstance(norm, MaskedLayerNorm):
        for name in ("weight", "bias"):
            parameter = getattr(norm, name)
            _replace(norm, name, parameter * factors.to(parameter))
            yield f"{path}.{name}"
    if isinstance(norm, MaskedRMSNorm):
        weight = norm.weight
        _replace(norm.inner, "weight", norm.scaled_weight(factors.to(weight)))
        yield f"{path}.inner.weight"


@torch.no_grad()
def _scale_columns(model: nn.Module, path: str, factors: Tensor) -> Iterator[str]:
    layer = model.get_submodule(path)
    assert isinstance(layer, APTLinear)
    for name in ("weight", "lora_a") if layer.rank > 0 else ("weight",):
        parameter = getattr(layer, name)
        _replace(layer, name, parameter * factors.to(parameter))
        yield f"{path}.{name}"


def _replace(module: nn.Module, name: str, value: Tensor) -> None:
    """A new object: a teacher that shares the old one keeps its values."""
    learns = getattr(module, name).requires_grad
    setattr(module, name, nn.Parameter(value.detach(), learns))

"""Fold real-valued block masks into the weights, so that the cut model computes what it did."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from apt_core.adapters.linear import APTLinear
from apt_core.models.arch import ModelMap
from apt_core.models.structure import Structure
from apt_core.models.surgery_record import Surgery


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


@torch.no_grad()
def _scale_columns(model: nn.Module, path: str, factors: Tensor) -> Iterator[str]:
    layer = model.get_submodule(path)
    assert isinstance(layer, APTLinear)
    for name in ("weight", "lora_a") if layer.rank > 0 else ("weight",):
        parameter = getattr(layer, name)
        scaled = parameter.detach() * factors.to(parameter)
        # A new object: a teacher that shares the old one keeps its values.
        setattr(layer, name, nn.Parameter(scaled, parameter.requires_grad))
        yield f"{path}.{name}"

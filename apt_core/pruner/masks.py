"""The masks of the blocks while a decay window is open, and their way into the model."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from apt_core.adapters.linear import APTLinear
from apt_core.adapters.norm import MaskedLayerNorm, MaskedRMSNorm
from apt_core.models.arch import ModelMap, SubBlockMap
from apt_core.models.modules import find_submodule
from apt_core.models.structure import Structure
from apt_core.models.surgery_record import KeptBlocks


class BlockMasks:
    """One mask value in [0, 1] per head, neuron and hidden dimension.

    Hidden dimensions are shared by all layers.
    A mask enters the model once per path: heads and neurons at the input of the projection that
    writes to the residual
    stream, hidden dimensions at its output and behind every norm. The paper (Eq. 2) draws a mask
    on both sides of every
    layer; at 0/1 that is the same function, and in between a soft mask is not squared.

    Args:
        structure: the present shape; all masks start at 1.
    """

    def __init__(self, structure: Structure) -> None:
        self.units = {s.name: torch.ones(s.num_units) for s in structure.sub_blocks}
        self.sub_blocks: dict[str, Tensor] = {}
        """Factors on all that a sub-block adds; only gates have them, and 0 means that it is gone.
        """
        self.hidden = torch.ones(structure.hidden_size)

    def step_toward(self, kept: KeptBlocks, step_size: float) -> None:
        """Kept masks rise and the others fall by `step_size`, within [0, 1] (paper section 4.2)."""
        for name, mask in self.units.items():
            self.units[name] = _moved(mask, kept.units[name], step_size)
        self.hidden = _moved(self.hidden, kept.hidden, step_size)

    def state(self) -> dict[str, Tensor]:
        """All masks by name, for checkpoints."""
        return {"hidden": self.hidden} | {f"units.{n}": m for n, m in self.units.items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of `state`."""
        self.hidden = state["hidden"].clone()
        self.units = {name: state[f"units.{name}"].clone() for name in self.units}

    @property
    def is_open(self) -> bool:
        """Whether any mask differs from 1."""
        masks = (self.hidden, *self.units.values())
        return any(bool((mask != 1).any()) for mask in masks)


def _moved(mask: Tensor, kept_indices: Tensor, step_size: float) -> Tensor:
    change = torch.full_like(mask, -step_size)
    change[kept_indices] = step_size
    # Rounding keeps 100 steps of 0.01 from stopping at 1e-7 instead of 0.
    return (mask + change).clamp(0.0, 1.0).mul(1e6).round().div(1e6)


def binary_masks(structure: Structure, kept: KeptBlocks) -> BlockMasks:
    """Masks that are 1 for kept blocks and 0 for all others."""
    masks = BlockMasks(structure)
    masks.step_toward(kept, 1.0)
    return masks


def apply_masks(model: nn.Module, model_map: ModelMap, masks: BlockMasks | None) -> None:
    """Hand the masks to the model's layers; None takes every mask out.

    Args:
        model: a task model with injected adapters, changed in place.
        model_map: where its parts are.
        masks: the masks of its present structure.
    """
    for path in model_map.norms():
        norm = find_submodule(model, path)
        if isinstance(norm, MaskedLayerNorm | MaskedRMSNorm):
            norm.set_mask(None if masks is None else _like(masks.hidden, norm.weight))
    for sub_block in model_map.sub_blocks:
        writer = find_submodule(model, sub_block.writer.path)
        if isinstance(writer, APTLinear):
            _mask_sub_block(model, sub_block, writer, masks)


def _mask_sub_block(
    model: nn.Module, sub_block: SubBlockMap, writer: APTLinear, masks: BlockMasks | None
) -> None:
    norm = None if sub_block.norm is None else find_submodule(model, sub_block.norm)
    # A norm in front of the readers needs no bypass: a silenced writer is enough.
    post_norm = norm if isinstance(norm, MaskedLayerNorm) else None
    if masks is None:
        writer.input_mask = writer.output_mask = None
        if post_norm is not None:
            post_norm.is_bypassed = False
        return
    units = masks.units[sub_block.name]
    is_dead = is_silent(masks, sub_block.name)
    writer.input_mask = _like(units.repeat_interleave(sub_block.unit_width), writer.weight)
    # A sub-block without units is gone with its bias and its norm: silence both.
    output = torch.zeros_like(masks.hidden) if is_dead else output_factors(masks, sub_block.name)
    writer.output_mask = _like(output, writer.weight)
    if post_norm is not None:
        post_norm.is_bypassed = is_dead


def is_silent(masks: BlockMasks, name: str) -> bool:
    """Whether a sub-block adds nothing: no unit is left, or its own factor is 0.

    Args:
        masks: all masks.
        name: the sub-block.

    Returns:
        Whether it is as good as gone.
    """
    factor = masks.sub_blocks.get(name)
    is_closed = factor is not None and not bool(factor != 0)
    return is_closed or not bool((masks.units[name] != 0).any())


def output_factors(masks: BlockMasks, name: str) -> Tensor:
    """What every hidden dimension of a sub-block's output is multiplied with.

    Args:
        masks: all masks.
        name: the sub-block; not a silent one.

    Returns:
        One factor per hidden dimension.
    """
    factor = masks.sub_blocks.get(name)
    return masks.hidden if factor is None else masks.hidden * factor


def _like(mask: Tensor, weight: Tensor) -> Tensor:
    return mask.to(device=weight.device, dtype=weight.dtype)

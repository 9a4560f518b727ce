"""The gates of a run: parameters beside the student, and their way into it as masks."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from apt_core.baselines.l0_gates import (
    GateValues,
    num_gates,
    open_probability,
    sampled_gates,
    settled_gates,
    split_gates,
)
from apt_core.models.arch import ModelMap
from apt_core.models.structure import Structure
from apt_core.pruner.masks import BlockMasks, apply_masks

MIN_GATE = 0.01
"""What a closed gate is set to where its block stays: all but silent, yet it can learn."""

FIRST_MULTIPLIERS = (0.0, 20.0)
"""l1 and l2. CoFi starts both at 0: until they have grown nothing pulls, and then they are far too
large for a while. In a short phase that overshoots the target by far; with l2 above 0 the pull
is in proportion to the gap from the first step on."""


class Gates(nn.Module):
    """One gate per head, neuron, sub-block and hidden dimension, and the two multipliers.

    All log alphas are one vector (`split_gates` says what is where), so that any engine handles
    them at little cost: one draw, one reduction, and no decay, as for every vector.

    Args:
        model_map: where the student's parts are.
        structure: its shape; it stays as long as there are gates.
        log_alpha: where all gates start.
    """

    def __init__(self, model_map: ModelMap, structure: Structure, log_alpha: float) -> None:
        super().__init__()
        self.model_map = model_map
        self.structure = structure
        self.log_alpha = nn.Parameter(torch.full((num_gates(structure),), log_alpha))
        self.multipliers = nn.Parameter(torch.tensor(FIRST_MULTIPLIERS))

    def forward(self, uniform: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Open and close.

        Args:
            uniform: noise in (0, 1), one number per gate; None: no noise.

        Returns:
            The value of every gate, the probability that it is open, and the multipliers, all in
            fp32 or wider.
        """
        log_alpha = _at_least_fp32(self.log_alpha)
        if uniform is None:
            values = settled_gates(log_alpha)
        else:
            values = sampled_gates(log_alpha, uniform.to(log_alpha))
        return values, open_probability(log_alpha), _at_least_fp32(self.multipliers)

    def settle(self, student: nn.Module) -> None:
        """Mask the student by the gates without their noise, as for its evaluation.

        Args:
            student: the task model, unmasked or masked by these gates.
        """
        values, _, _ = self(None)
        apply_masks(student, self.model_map, gate_masks(values, self.structure))

    def values(self) -> GateValues:
        """Every gate without noise; on plain modules only."""
        return self._split(settled_gates)

    def open_probabilities(self) -> GateValues:
        """How likely every gate is open; on plain modules only."""
        return self._split(open_probability)

    def _split(self, function: Callable[[Tensor], Tensor]) -> GateValues:
        # In fp64, so that nearly open gates still have an order.
        return split_gates(function(self.log_alpha.detach().cpu().double()), self.structure)


def _at_least_fp32(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def noise(size: int, seed: int) -> Tensor:
    """Uniform numbers inside (0, 1), the same on every worker and device.

    Args:
        size: how many.
        seed: what they are drawn from.

    Returns:
        A vector on the CPU.
    """
    generator = torch.Generator().manual_seed(seed)
    edge = torch.finfo(torch.float32).eps
    return torch.rand(size, generator=generator).clamp(edge, 1 - edge)


def gate_masks(values: Tensor, structure: Structure) -> BlockMasks:
    """The masks that gates are; gradients flow through them.

    Args:
        values: of all gates.
        structure: the shape that they belong to.

    Returns:
        Masks of which at least one hidden dimension is not 0, as no norm is defined over none.
    """
    gates = split_gates(values, structure)
    hidden = gates.hidden
    if not bool((hidden != 0).any()):
        hidden = torch.full_like(hidden, MIN_GATE)
    masks = BlockMasks(structure)
    masks.units, masks.sub_blocks, masks.hidden = dict(gates.units), dict(gates.sub_blocks), hidden
    return masks

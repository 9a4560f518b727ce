"""Hard-concrete gates on blocks, what they leave on average, and the pull toward a target [CoFi].

CoFi: Xia, Zhong and Chen 2022, section 3. The gates: Louizos, Welling and Kingma 2018, Eq. 10-13.
The pull: Wang, Wohlwend and Lei 2020, Eq. 6.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from apt_core.models.structure import Structure, SubBlock

TEMPERATURE = 2 / 3
LOW, HIGH = -0.1, 1.1
"""The concrete distribution on (0, 1) is stretched to (LOW, HIGH) and clamped to [0, 1]."""


@dataclass(frozen=True)
class GateValues:
    """One number per gate: a value, or the probability that it is open."""

    units: Mapping[str, Float[Tensor, " _"]]
    """Sub-block name -> one number per head or neuron."""
    sub_blocks: Mapping[str, Float[Tensor, ""]]
    """Sub-block name -> the number of the gate on all that it adds."""
    hidden: Float[Tensor, " hidden"]


def num_gates(structure: Structure) -> int:
    """How many gates a structure has: its units, its sub-blocks and its hidden dimensions."""
    units = sum(s.num_units for s in structure.sub_blocks)
    return units + len(structure.sub_blocks) + structure.hidden_size


def split_gates(flat: Float[Tensor, " gates"], structure: Structure) -> GateValues:
    """Numbers of all gates by block.

    Args:
        flat: Units in model order, then sub-blocks, then hidden dimensions.
        structure: The shape that they belong to.

    Returns:
        The same numbers; views, so that gradients flow back.
    """
    names = [s.name for s in structure.sub_blocks]
    sizes = [s.num_units for s in structure.sub_blocks]
    *units, sub_blocks, hidden = flat.split([*sizes, len(names), structure.hidden_size])
    return GateValues(
        units=dict(zip(names, units, strict=True)),
        sub_blocks=dict(zip(names, sub_blocks.unbind(), strict=True)),
        hidden=hidden,
    )


def initial_log_alpha(drop_rate: float) -> float:
    """Where a gate starts: ``log(1 - r) - log(r)``, for a drop rate r in (0, 1)."""
    return math.log(1 - drop_rate) - math.log(drop_rate)


def sampled_gates(
    log_alpha: Float[Tensor, " gates"], uniform: Float[Tensor, " gates"]
) -> Float[Tensor, " gates"]:
    """One draw of every gate.

    ``z = min(1, max(0, LOW + (HIGH - LOW) * sigmoid((log u - log(1 - u) + log_alpha) / beta)))``
    with u uniform on (0, 1) and beta = `TEMPERATURE`. Range [0, 1]; 0 and 1 have positive
    probability, and between them z has a derivative.
    """
    return _stretched(torch.sigmoid((uniform.logit() + log_alpha) / TEMPERATURE))


def settled_gates(log_alpha: Float[Tensor, " gates"]) -> Float[Tensor, " gates"]:
    """What a gate is without noise: ``min(1, max(0, LOW + (HIGH - LOW) * sigmoid(log_alpha)))``."""
    return _stretched(torch.sigmoid(log_alpha))


def open_probability(log_alpha: Float[Tensor, " gates"]) -> Float[Tensor, " gates"]:
    """``P(z != 0) = sigmoid(log_alpha - beta * log(-LOW / HIGH))``, range (0, 1)."""
    return torch.sigmoid(log_alpha - TEMPERATURE * math.log(-LOW / HIGH))


def expected_params(structure: Structure, is_open: GateValues) -> Float[Tensor, ""]:
    """How many parameters stay on average, if all gates are independent.

    A unit stays if its own gate and that of its sub-block are open. With q the probability of the
    sub-block's gate, p_i those of its units and D the sum of those of the hidden dimensions,

        ``E[C] = sum_s q * (sum_i p_i * (a * D + b) + (1 - prod_i (1 - p_i)) * (c * D + f))``

    where a unit has a weights per hidden dimension and b biases, and c parameters per hidden
    dimension and f others go with the last unit: exactly `Structure.num_params` on average.
    Deviation from CoFi, which counts matrices only and takes a sub-block's gate for its survival.

    Args:
        structure: What the gates are on.
        is_open: The probability that each gate is open.

    Returns:
        The expectation, in fp32 or wider.
    """
    hidden_size = is_open.hidden.sum()
    parts = [
        is_open.sub_blocks[s.name] * _expected_of(s, is_open.units[s.name], hidden_size)
        for s in structure.sub_blocks
    ]
    return torch.stack(parts).sum()


def _expected_of(sub_block: SubBlock, units: Tensor, hidden_size: Tensor) -> Tensor:
    is_alive = 1.0 - (1.0 - units).prod()
    per_unit = sub_block.per_unit_per_dim * hidden_size + sub_block.per_unit
    shared = sub_block.per_dim_if_alive * hidden_size + sub_block.fixed_if_alive
    return units.sum() * per_unit + is_alive * shared


def target_at(step: int, *, start: int, warmup: int, target: float) -> float:
    """The sparsity that is asked for at a step: a straight line from 0, then `target`.

    ``t = target * min(1, (step - start) / warmup)``; without a warm-up, `target` at once.

    Args:
        step: Optimizer steps done, at least `start`.
        start: Step at which the gates begin.
        warmup: Steps until the target is asked for in full.
        target: The sparsity to reach.

    Returns:
        A sparsity in [0, target].
    """
    return target * min(1.0, (step - start) / warmup) if warmup else target


def lagrangian(
    sparsity: Float[Tensor, ""], target: float, multipliers: Float[Tensor, "2"]
) -> Float[Tensor, ""]:
    """``l1 * (s - t) + l2 * (s - t)^2``, of which gates seek the least and l1, l2 the most.

    The gradient on the multipliers has its sign turned, so that one optimizer that descends serves
    both.

    Args:
        sparsity: The expected sparsity s.
        target: The sparsity t that is asked for.
        multipliers: l1 and l2.

    Returns:
        The penalty on the loss.
    """
    ascending = 2 * multipliers.detach() - multipliers
    gap = sparsity - target
    return ascending[0] * gap + ascending[1] * gap.square()


def _stretched(share: Tensor) -> Tensor:
    return (LOW + (HIGH - LOW) * share).clamp(0.0, 1.0)

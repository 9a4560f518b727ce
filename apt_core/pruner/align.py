"""Round what stays to widths that hardware likes; pure, on counts alone."""

import math
from collections.abc import Sequence

from apt_core.models.structure import Structure, SubBlock
from apt_core.pruner.cost import PARAMS, CostModel


def quantum_of(sub_block: SubBlock, round_to: int) -> int:
    """Units by which a sub-block shrinks so that all its widths are multiples of `round_to`.

    A head of 64 channels is a multiple of 8 by itself, so its quantum is 1; a neuron's is 8.
    """
    narrowest = min(sub_block.sites.values(), default=sub_block.unit_width)
    return round_to // math.gcd(round_to, narrowest)


def aligned_counts(
    structure: Structure,
    counts: Sequence[int],
    densities: Sequence[Sequence[float]],
    *,
    budget: int | float,
    at_least: Sequence[int],
    round_to: int,
    cost: CostModel = PARAMS,
) -> list[int]:
    """Round every count down to its quantum, then give back what the budget still allows.

    Groups are the sub-blocks in the structure's order and, last, the hidden dimensions. What is
    given back comes a quantum at a time, the quantum with the highest mean density first. A group
    that keeps all it has is left alone: its width is the model's own.

    Args:
        structure: what there is now.
        counts: blocks that a search keeps, by group.
        densities: salience densities of a group's blocks, falling, by group.
        budget: cost that may stay.
        at_least: blocks that must stay, by group; rounded up.
        round_to: widths become multiples of this.
        cost: what the budget counts.

    Returns:
        Aligned counts; together they fit the budget whenever the rounded-up floors do.
    """
    sizes = [s.num_units for s in structure.sub_blocks] + [structure.hidden_size]
    quanta = [quantum_of(s, round_to) for s in structure.sub_blocks] + [round_to]
    aligned = [
        _rounded(count, floor, quantum, size)
        for count, floor, quantum, size in zip(counts, at_least, quanta, sizes, strict=True)
    ]
    is_open = [True] * len(aligned)
    while True:
        offers = [
            (_mean(densities[group][aligned[group] : aligned[group] + quanta[group]]), -group)
            for group, size in enumerate(sizes)
            if is_open[group] and aligned[group] < size
        ]
        if not offers:
            return aligned
        group = -max(offers)[1]
        step = min(quanta[group], sizes[group] - aligned[group])
        larger = [*aligned[:group], aligned[group] + step, *aligned[group + 1 :]]
        if cost.total(with_counts(structure, larger)) <= budget:
            aligned = larger
        else:
            is_open[group] = False


def with_counts(structure: Structure, counts: Sequence[int]) -> Structure:
    """The same model with so many blocks in every group."""
    names = [s.name for s in structure.sub_blocks]
    return structure.with_units(dict(zip(names, counts[:-1], strict=True)), counts[-1])


def params_of(structure: Structure, counts: Sequence[int]) -> int:
    """Layer parameters with so many blocks in every group [paper Eq. 14]."""
    return with_counts(structure, counts).num_params()


def _rounded(count: int, floor: int, quantum: int, size: int) -> int:
    if count >= size:
        return size
    return min(size, max(count // quantum * quantum, -(-floor // quantum) * quantum))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)

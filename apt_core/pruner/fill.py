"""Use up a budget that a ranking's longest prefix leaves a rest of [paper Eq. 14]."""

from collections.abc import Sequence

import torch
from torch import Tensor

from apt_core.models.structure import Structure, SubBlock
from apt_core.models.surgery_record import KeptBlocks
from apt_core.pruner.search import BlockSalience, count_params


def fill_budget(
    structure: Structure, kept: KeptBlocks, scores: BlockSalience, budget: int | float
) -> KeptBlocks:
    """Keep what else fits: where the next block in a ranking is large, its prefix leaves room.

    Goes down the blocks that are not kept by falling score (ties: model order, hidden dimensions
    last, then index) and keeps each with which C, see `search_blocks`, is still within the budget.
    One more unit of sub-block s adds ``p_s * d' + u_s``, the first one ``a_s * d' + f_s`` besides;
    one more hidden dimension adds ``sum_s n_s' p_s + sum_alive a_s``. Sub-blocks without units come
    last: they return only where nothing else fits.

    Args:
        structure: What the model has now.
        kept: The blocks that stay so far, within the budget.
        scores: One number for each block of the structure.
        budget: Largest number of encoder/decoder-layer parameters that may stay.

    Returns:
        The kept blocks and those that were added.
    """
    sub_blocks = structure.sub_blocks
    chosen = [_flags(kept.units[s.name], s.num_units) for s in sub_blocks]
    chosen.append(_flags(kept.hidden, structure.hidden_size))
    values = [*(scores.units[s.name] for s in sub_blocks), scores.hidden]
    counts = [int(flags.sum()) for flags in chosen]
    room = budget - count_params(structure, kept)
    for owner, index in _ranking(values, chosen):
        cost = _cost_of_one_more(sub_blocks, counts, owner)
        if cost <= room:
            chosen[owner][index] = True
            counts[owner] += 1
            room -= cost
    units = {s.name: chosen[i].nonzero().flatten() for i, s in enumerate(sub_blocks)}
    return KeptBlocks(units, chosen[-1].nonzero().flatten())


def _flags(indices: Tensor, size: int) -> Tensor:
    flags = torch.zeros(size, dtype=torch.bool)
    flags[indices] = True
    return flags


def _ranking(values: Sequence[Tensor], chosen: Sequence[Tensor]) -> list[tuple[int, int]]:
    """(owner, index) of every block that is not chosen, best first, those of the dead last."""
    left = [
        (not bool(flags.any()), -value, owner, index)
        for owner, (of_owner, flags) in enumerate(zip(values, chosen, strict=True))
        for index, (value, is_in) in enumerate(zip(of_owner.tolist(), flags.tolist(), strict=True))
        if not is_in
    ]
    return [(owner, index) for _, _, owner, index in sorted(left)]


def _cost_of_one_more(sub_blocks: Sequence[SubBlock], counts: Sequence[int], owner: int) -> int:
    """Parameters that one more unit of a sub-block adds; of the last owner, a hidden dimension."""
    hidden_size = counts[-1]
    if owner == len(sub_blocks):
        return sum(
            n * s.per_unit_per_dim + s.per_dim_if_alive
            for s, n in zip(sub_blocks, counts[:-1], strict=True)
            if n > 0
        )
    s = sub_blocks[owner]
    first = 0 if counts[owner] else s.per_dim_if_alive * hidden_size + s.fixed_if_alive
    return s.per_unit_per_dim * hidden_size + s.per_unit + first

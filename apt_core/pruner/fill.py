"""Use up a budget that a ranking's longest prefix leaves a rest of [paper Eq. 14]."""

import torch
from torch import Tensor

from apt_core.models.structure import Structure
from apt_core.models.surgery_record import KeptBlocks
from apt_core.pruner.search import BlockSalience, count_params

HIDDEN = -1


def fill_budget(
    structure: Structure, kept: KeptBlocks, scores: BlockSalience, budget: int | float
) -> KeptBlocks:
    """Keep what else fits: where the next block in a ranking is large, its prefix leaves room.

    Goes down the blocks that are not kept by falling score (ties: model order, hidden dimensions
    last, then index) and keeps each with which C, see `search_blocks`, is still within the budget.
    One more unit of sub-block s adds ``p_s * d' + u_s``, one more hidden dimension
    ``sum_s n_s' p_s + sum_alive a_s``. Sub-blocks without units stay gone.

    Args:
        structure: What the model has now.
        kept: The blocks that stay so far, within the budget.
        scores: One number for each block of the structure.
        budget: Largest number of encoder/decoder-layer parameters that may stay.

    Returns:
        The kept blocks and those that were added.
    """
    sub_blocks = structure.sub_blocks
    alive = [i for i, s in enumerate(sub_blocks) if kept.units[s.name].numel() > 0]
    chosen = {i: _flags(kept.units[sub_blocks[i].name], sub_blocks[i].num_units) for i in alive}
    chosen[HIDDEN] = _flags(kept.hidden, structure.hidden_size)
    room = budget - count_params(structure, kept)
    hidden_size = kept.hidden.numel()
    per_dim = sum(
        kept.units[s.name].numel() * s.per_unit_per_dim + s.per_dim_if_alive
        for s in (sub_blocks[i] for i in alive)
    )
    values = {i: scores.units[sub_blocks[i].name] for i in alive} | {HIDDEN: scores.hidden}
    for owner, index in _ranking(values, chosen):
        if owner == HIDDEN:
            cost, wider, deeper = per_dim, 0, 1
        else:
            unit = sub_blocks[owner]
            cost, wider, deeper = (
                unit.per_unit_per_dim * hidden_size + unit.per_unit,
                unit.per_unit_per_dim,
                0,
            )
        if cost <= room:
            chosen[owner][index] = True
            room, per_dim, hidden_size = room - cost, per_dim + wider, hidden_size + deeper
    units = {sub_blocks[i].name: chosen[i].nonzero().flatten() for i in alive}
    return KeptBlocks({**kept.units, **units}, chosen[HIDDEN].nonzero().flatten())


def _flags(indices: Tensor, size: int) -> Tensor:
    flags = torch.zeros(size, dtype=torch.bool)
    flags[indices] = True
    return flags


def _ranking(values: dict[int, Tensor], chosen: dict[int, Tensor]) -> list[tuple[int, int]]:
    """(owner, index) of every block that is not chosen, best first."""
    left = [
        (-value, order, owner, index)
        for order, (owner, of_owner) in enumerate(values.items())
        for index, value in enumerate(of_owner.tolist())
        if not bool(chosen[owner][index])
    ]
    return [(owner, index) for _, _, owner, index in sorted(left)]

"""Which blocks stay under a parameter budget: a global ranking by density [paper section 4.2]."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from apt_core.errors import BudgetError
from apt_core.models.structure import Structure, SubBlock
from apt_core.models.surgery_record import KeptBlocks


@dataclass(frozen=True)
class BlockSalience:
    """The salience of every block that a structure has left."""

    units: Mapping[str, Float[Tensor, " _"]]
    """Sub-block name -> salience of its heads or neurons; may lack sub-blocks without units."""
    hidden: Float[Tensor, " hidden"]
    """Salience of the hidden dimensions."""


@dataclass(frozen=True)
class Floors:
    """How much must stay, whatever the salience says; where less is left, all of it stays."""

    min_heads: int = 0
    """Heads in every attention sub-block that is left."""
    min_neurons: int = 0
    """Neurons in every feed-forward sub-block that is left."""
    min_hidden: int = 0
    """Hidden dimensions."""


def search_blocks(
    structure: Structure, salience: BlockSalience, budget: int | float, floors: Floors
) -> KeptBlocks:
    """Keep the densest blocks whose parameters together fit the budget [paper Eq. 6, 12, 14].

    Every block gets a salience density ``rho(b) = S(b) / C(b)``, C(b) being the weights it frees.
    All heads, neurons and hidden dimensions are ranked by it in one descending list (ties: heads
    before neurons before hidden dimensions, then model order, then index), and the longest prefix
    stays whose exact parameter count

        ``C = d' * (sum_s n_s' p_s + sum_{s: n_s' > 0} a_s) + sum_s n_s' u_s``

    is at most the budget, where sub-block s keeps n_s' units with p_s weights per hidden dimension
    and u_s biases each, a_s parameters per hidden dimension go with the sub-block as a whole, and
    d' hidden dimensions stay. C never falls from prefix to prefix, so the longest one is well
    defined. The best blocks of each floor stand before all others.

    Deviation from the paper: C also counts biases and norms (Eq. 14 counts matrices only), and the
    floors are new. A salience that is missing, of the wrong length or not finite is a ValueError;
    floors that alone exceed the budget are a BudgetError.

    Args:
        structure: What the model has now; its counts and costs are those of the ranking.
        salience: One value for each block of the structure.
        budget: Largest number of encoder/decoder-layer parameters that may stay; at or above the
            present number everything stays.
        floors: Blocks that must stay.

    Returns:
        Sorted kept indices for every sub-block (empty where nothing stays) and for the hidden
        dimensions.
    """
    sub_blocks = structure.of_kind("attention") + structure.of_kind("ffn")
    sizes = [s.num_units for s in sub_blocks] + [structure.hidden_size]
    group = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    must_stay = [
        floors.min_heads if s.kind == "attention" else floors.min_neurons for s in sub_blocks
    ]
    must_stay = [*must_stay, floors.min_hidden]

    order = _ranking(_densities(structure, sub_blocks, salience), group, must_stay)
    num_floor = sum(min(floor, size) for floor, size in zip(must_stay, sizes, strict=True))
    num_kept = _longest_prefix(_prefix_params(sub_blocks, group[order]), budget, num_floor, floors)

    stays = torch.zeros(len(order), dtype=torch.bool)
    stays[order[:num_kept]] = True
    *units, hidden = (part.nonzero().flatten() for part in torch.split(stays, sizes))
    kept = dict(zip((s.name for s in sub_blocks), units, strict=True))
    return KeptBlocks({s.name: kept[s.name] for s in structure.sub_blocks}, hidden)


def count_params(structure: Structure, kept: KeptBlocks) -> int:
    """Encoder/decoder-layer parameters of `structure` with only the kept blocks [paper Eq. 14]."""
    num_units = {name: len(indices) for name, indices in kept.units.items()}
    return structure.with_units(num_units, len(kept.hidden)).num_params()


def _densities(
    structure: Structure, sub_blocks: Sequence[SubBlock], salience: BlockSalience
) -> Float[Tensor, " blocks"]:
    """``rho(b) = S(b) / C(b)`` of all blocks: sub-blocks in the given order, hidden dims last."""
    densities = []
    for sub_block in sub_blocks:
        values = salience.units.get(sub_block.name, torch.empty(0))
        _check(values, sub_block.num_units, sub_block.name)
        densities.append(_density(values, structure.unit_cost(sub_block)))
    _check(salience.hidden, structure.hidden_size, "hidden dimensions")
    densities.append(_density(salience.hidden, structure.hidden_cost()))
    return torch.cat(densities)


def _density(salience: Tensor, cost: int) -> Tensor:
    """Salience per parameter in fp64; what frees nothing any more counts as one parameter."""
    return salience.detach().to("cpu", torch.float64) / max(cost, 1)


def _check(salience: Tensor, expected: int, where: str) -> None:
    """Refuse salience that has no place in a ranking."""
    if salience.numel() != expected:
        raise ValueError(f"salience of {where}: {expected} blocks, but {salience.numel()} values")
    num_bad = int((~salience.isfinite()).sum())
    if num_bad:
        raise ValueError(f"salience of {where}: {num_bad} of {expected} values are not finite")


def _ranking(
    density: Float[Tensor, " blocks"], group: Int[Tensor, " blocks"], must_stay: Sequence[int]
) -> Int[Tensor, " blocks"]:
    """Blocks by falling density, the best `must_stay` of each group first; stable in ties."""
    order = torch.argsort(density, descending=True, stable=True)
    in_floor = _position_in_group(group[order]) < torch.tensor(must_stay)[group[order]]
    return order[torch.argsort(in_floor, descending=True, stable=True)]


def _position_in_group(group: Int[Tensor, " blocks"]) -> Int[Tensor, " blocks"]:
    """For every entry, how many earlier entries belong to the same group."""
    by_group = torch.argsort(group, stable=True)
    counts = torch.bincount(group)
    starts = (counts.cumsum(dim=0) - counts).repeat_interleave(counts)
    position = torch.empty_like(group)
    position[by_group] = torch.arange(len(group)) - starts
    return position


def _prefix_params(
    sub_blocks: Sequence[SubBlock], ranked_group: Int[Tensor, " blocks"]
) -> Int[Tensor, " blocks"]:
    """Exact parameters of every prefix of the ranking: ``d' * A + B`` with three running sums."""
    per_dim = torch.tensor([s.per_unit_per_dim for s in sub_blocks] + [0])
    per_dim_if_alive = torch.tensor([s.per_dim_if_alive for s in sub_blocks] + [0])
    per_unit = torch.tensor([s.per_unit for s in sub_blocks] + [0])

    is_first = _position_in_group(ranked_group) == 0
    hidden_size = (ranked_group == len(sub_blocks)).cumsum(dim=0)
    weights = (per_dim[ranked_group] + per_dim_if_alive[ranked_group] * is_first).cumsum(dim=0)
    return hidden_size * weights + per_unit[ranked_group].cumsum(dim=0)


def _longest_prefix(
    params: Int[Tensor, " blocks"], budget: int | float, num_floor: int, floors: Floors
) -> int:
    """Length of the longest prefix within the budget; params never fall from prefix to prefix."""
    needed = int(params[num_floor - 1]) if num_floor else 0
    if not budget >= needed:
        raise BudgetError(
            f"the floors ({floors.min_heads} heads and {floors.min_neurons} neurons per sub-block, "
            f"{floors.min_hidden} hidden dimensions) need {needed:,} parameters, but the budget is "
            f"{budget:,.0f}; lower pruning.min_heads, pruning.min_neurons, pruning.min_hidden or "
            "pruning.target_sparsity"
        )
    if math.isinf(budget):
        return len(params)
    # Against a float, torch would compare these counts as fp32, which is exact only up to 2**24.
    return int((params <= math.floor(budget)).sum())

"""Which blocks stay under a budget: a global ranking by density [paper section 4.2]."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from apt_core.errors import BudgetError
from apt_core.models.structure import Structure, SubBlock
from apt_core.models.surgery_record import KeptBlocks
from apt_core.pruner.align import aligned_counts, with_counts
from apt_core.pruner.cost import PARAMS, CostModel


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
    round_to: int = 1
    """Kept widths (neurons, attention channels, hidden size) become multiples of this."""

    def of(self, sub_block: SubBlock) -> int:
        """Units that must stay in a sub-block; a group of query heads is kept or cut whole."""
        if sub_block.kind == "attention":
            return -(-self.min_heads // sub_block.heads_per_unit)
        return self.min_neurons


def search_blocks(
    structure: Structure,
    salience: BlockSalience,
    budget: int | float,
    floors: Floors,
    *,
    cost: CostModel = PARAMS,
) -> KeptBlocks:
    """Keep the densest blocks whose costs together fit the budget [paper Eq. 6, 12, 14].

    Every block gets a salience density ``rho(b) = S(b) / C(b)``, C(b) being the weights it frees.
    All heads, neurons and hidden dimensions are ranked by it in one descending list (ties: heads
    before neurons before hidden dimensions, then model order, then index), and the longest prefix
    stays whose exact parameter count

        ``C = d' * (sum_s n_s' p_s + sum_alive a_s) + sum_s n_s' u_s + sum_alive f_s``

    is at most the budget, where sub-block s keeps n_s' units with p_s weights per hidden dimension
    and u_s biases each, a_s parameters per hidden dimension and f_s others go with the sub-block as
    a whole while any unit stays, and d' hidden dimensions stay. The best blocks of each floor stand
    before all others. With `Floors.round_to` the counts are aligned afterwards.

    Deviation from the paper: C also counts biases and norms (Eq. 14 counts matrices only), and the
    floors are new; with another `cost`, C(b) and C are what it says. A salience that is missing or
    not finite is a ValueError; floors that alone exceed the budget are a BudgetError.

    Args:
        structure: What the model has now; its counts and costs are those of the ranking.
        salience: One value for each block of the structure.
        budget: Largest cost that may stay; at or above the present cost everything stays.
        floors: Blocks that must stay.
        cost: What the budget counts.

    Returns:
        Sorted kept indices of every sub-block (empty where nothing stays) and of the dimensions.
    """
    by_kind = structure.of_kind("attention") + structure.of_kind("ffn")
    ordered = replace(structure, sub_blocks=by_kind)
    sizes = _sizes(ordered)
    group = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    density = block_densities(ordered, salience, cost)
    order = ranking(density, group, _must_stay(ordered, floors))
    num_kept = _longest_prefix(ordered, group[order], budget, floors, cost=cost)
    stays = torch.zeros(len(order), dtype=torch.bool)
    stays[order[:num_kept]] = True
    stays = _aligned(ordered, density, stays, floors=floors, budget=budget, cost=cost)
    *units, hidden = (part.nonzero().flatten() for part in torch.split(stays, sizes))
    kept = dict(zip((s.name for s in by_kind), units, strict=True))
    return KeptBlocks({s.name: kept[s.name] for s in structure.sub_blocks}, hidden)


def _sizes(structure: Structure) -> list[int]:
    """Blocks of every group: of the sub-blocks in their order and, last, the hidden dimensions."""
    return [s.num_units for s in structure.sub_blocks] + [structure.hidden_size]


def _must_stay(structure: Structure, floors: Floors) -> list[int]:
    """The floor of every group."""
    return [*(floors.of(s) for s in structure.sub_blocks), floors.min_hidden]


def _aligned(
    structure: Structure,
    density: Tensor,
    stays: Tensor,
    *,
    floors: Floors,
    budget: int | float,
    cost: CostModel,
) -> Tensor:
    """The same choice with aligned widths: of every group its densest blocks stay."""
    if floors.round_to == 1:
        return stays
    sizes = _sizes(structure)
    by_group = [part.sort(descending=True, stable=True) for part in torch.split(density, sizes)]
    counts = aligned_counts(
        structure,
        [int(part.sum()) for part in torch.split(stays, sizes)],
        [part.values.tolist() for part in by_group],
        budget=budget,
        at_least=_must_stay(structure, floors),
        round_to=floors.round_to,
        cost=cost,
    )
    aligned = [torch.zeros(size, dtype=torch.bool) for size in sizes]
    for part, count, chosen in zip(by_group, counts, aligned, strict=True):
        chosen[part.indices[:count]] = True
    return torch.cat(aligned)


def count_params(structure: Structure, kept: KeptBlocks) -> int:
    """Encoder/decoder-layer parameters of `structure` with only the kept blocks [paper Eq. 14]."""
    num_units = {name: len(indices) for name, indices in kept.units.items()}
    return structure.with_units(num_units, len(kept.hidden)).num_params()


def block_densities(
    structure: Structure, salience: BlockSalience, cost: CostModel
) -> Float[Tensor, " blocks"]:
    """``rho(b) = S(b) / C(b)`` of all blocks: sub-blocks in the given order, hidden dims last."""
    densities = []
    for sub_block in structure.sub_blocks:
        values = salience.units.get(sub_block.name, torch.empty(0))
        _check(values, sub_block.num_units, sub_block.name)
        densities.append(_density(values, cost.unit_cost(structure, sub_block)))
    _check(salience.hidden, structure.hidden_size, "hidden dimensions")
    densities.append(_density(salience.hidden, cost.hidden_cost(structure)))
    return torch.cat(densities)


def _density(salience: Tensor, cost: int | float) -> Tensor:
    """Salience per cost in fp64."""
    return salience.detach().to("cpu", torch.float64) / cost


def _check(salience: Tensor, expected: int, where: str) -> None:
    """Refuse salience that has no place in a ranking."""
    if salience.numel() != expected:
        raise ValueError(f"salience of {where}: {expected} blocks, but {salience.numel()} values")
    num_bad = int((~salience.isfinite()).sum())
    if num_bad:
        raise ValueError(f"salience of {where}: {num_bad} of {expected} values are not finite")


def ranking(
    density: Float[Tensor, " blocks"], group: Int[Tensor, " blocks"], must_stay: Sequence[int]
) -> Int[Tensor, " blocks"]:
    """Blocks by falling density, the best `must_stay` of each group first; stable in ties."""
    order = torch.argsort(density, descending=True, stable=True)
    in_floor = _position_in_group(group[order]) < torch.tensor(must_stay)[group[order]]
    return torch.cat([order[in_floor], order[~in_floor]])


def _position_in_group(group: Int[Tensor, " blocks"]) -> Int[Tensor, " blocks"]:
    """For every entry, how many earlier entries belong to the same group."""
    by_group = torch.argsort(group.to(torch.int16), stable=True)  # four times as fast as int64
    counts = torch.bincount(group)
    starts = (counts.cumsum(dim=0) - counts).repeat_interleave(counts)
    position = torch.empty_like(group)
    position[by_group] = torch.arange(len(group)) - starts
    return position


def _longest_prefix(
    structure: Structure,
    ranked_group: Int[Tensor, " blocks"],
    budget: int | float,
    floors: Floors,
    *,
    cost: CostModel,
) -> int:
    """Length of the longest prefix within the budget; costs never fall from prefix to prefix."""
    sizes = _sizes(structure)
    num_floor = sum(map(min, _must_stay(structure, floors), sizes))

    def cost_of(length: int) -> int | float:
        counts = torch.bincount(ranked_group[:length], minlength=len(sizes)).tolist()
        return cost.total(with_counts(structure, counts))

    _check_floors(cost_of(num_floor), budget, floors, cost)
    lengths = range(num_floor, len(ranked_group) + 1)
    return num_floor + bisect_right(lengths, budget, key=cost_of) - 1


def _check_floors(
    needed: int | float, budget: int | float, floors: Floors, cost: CostModel
) -> None:
    """Refuse a budget that the floors alone exceed, and one that is not a number."""
    if budget >= needed:
        return
    raise BudgetError(
        f"the floors ({floors.min_heads} heads and {floors.min_neurons} neurons per sub-block, "
        f"{floors.min_hidden} hidden dimensions) need {needed:,.{cost.decimals}f} {cost.unit}, but "
        f"the budget is {budget:,.{cost.decimals}f}; lower pruning.min_heads, pruning.min_neurons, "
        "pruning.min_hidden or pruning.target_sparsity"
    )

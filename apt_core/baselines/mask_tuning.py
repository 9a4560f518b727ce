"""Mask tuning: prune after training, by the Fisher information of unit masks [Kwon et al. 2022].

A mask m_u multiplies what head or neuron u hands to the projection that writes to the residual
stream. Hidden dimensions have no masks here: they all stay.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from apt_core.errors import BudgetError
from apt_core.models.structure import Structure, SubBlock
from apt_core.pruner.align import aligned_counts
from apt_core.pruner.cost import PARAMS, CostModel
from apt_core.pruner.search import Floors, ranking

MAX_SWEEPS = 4
"""Sweeps over the kept units of a sub-block. The paper makes one."""
LEAST_GAIN = 1e-9
"""Share of the loss that a swap must save: rounding alone must not swap back and forth."""


def mask_gradients(
    activation: Float[Tensor, "*tokens channels"],
    gradient: Float[Tensor, "*tokens channels"],
    unit_width: int,
) -> Float[Tensor, " units"]:
    """Derivative of one batch's loss by every unit's mask at m = 1 [Kwon et al. 2022, mask search].

    ``dL/dm_u = sum over tokens and the channels c of unit u of H_c * dL/dH_c``

    Args:
        activation: H, in front of the writing projection.
        gradient: dL/dH through that projection alone.
        unit_width: Channels of one unit.

    Returns:
        One derivative per unit, in fp32.
    """
    products = activation.float() * gradient.float()
    return products.reshape(-1, products.shape[-1] // unit_width, unit_width).sum(dim=(0, 2))


def fisher_information(gradients: Float[Tensor, "batches units"]) -> Float[Tensor, " units"]:
    """Diagonal of the empirical Fisher matrix of masks [Kwon et al. 2022, mask search].

    ``F_uu = sum over batches of (dL/dm_u)^2``; to second order ``F_uu / 2`` is what L rises by when
    unit u goes. The factor 1 / number of batches is left out: it ranks alike.
    """
    return gradients.square().sum(dim=0)


def block_fisher_loss(
    gradients: Float[Tensor, "batches units"], kept: Int[Tensor, " kept"]
) -> float:
    """``(1 - m)^T F (1 - m)`` of one sub-block for a 0/1 mask [Kwon et al. 2022, rearrangement].

    With ``F = sum over batches of g g^T`` this is ``sum over batches of (sum of g over the pruned
    units)^2``: the gradients are a factor of F, and F itself is never formed.
    """
    pruned = gradients.sum(dim=1) - gradients[:, kept].sum(dim=1)
    return float(pruned.square().sum())


def search_units(
    structure: Structure,
    fisher: Mapping[str, Float[Tensor, " _"]],
    budget: int | float,
    floors: Floors,
    cost: CostModel = PARAMS,
) -> dict[str, Int[Tensor, " _"]]:
    """Keep the heads and neurons with the most Fisher information [Kwon et al. 2022, mask search].

    All heads of the model stand in one list and all neurons in another, by falling Fisher
    information; the best of each floor stand first. For every number of kept heads, the budget
    leaves room for so many neurons, counted exactly; of all these pairs the one stays whose units
    hold the most Fisher information together (ties: more heads). With `Floors.round_to` the counts
    are aligned afterwards.

    Deviation: the budget counts parameters, with biases and what goes with a whole sub-block, as in
    every arm here; the paper counts multiply-accumulates.

    Args:
        structure: What the model has now.
        fisher: Sub-block name -> Fisher information of each of its units.
        budget: Largest cost that may stay.
        floors: Units that must stay.
        cost: What the budget counts.

    Returns:
        Sorted kept indices for every sub-block, in the structure's order.

    Raises:
        BudgetError: the floors alone exceed the budget.
        ValueError: Fisher information that is not finite has no place in a ranking.
    """
    for name, values in fisher.items():
        if not bool(values.isfinite().all()):
            raise ValueError(f"Fisher information of {name}: not all values are finite")
    counts = _best_counts(structure, fisher, budget, floors=floors, cost=cost)
    if floors.round_to > 1:
        counts = _aligned(structure, counts, fisher, floors=floors, budget=budget, cost=cost)
    return {s.name: _best_units(fisher[s.name], counts[s.name]) for s in structure.sub_blocks}


def _best_counts(
    structure: Structure,
    fisher: Mapping[str, Tensor],
    budget: int | float,
    *,
    floors: Floors,
    cost: CostModel,
) -> dict[str, int]:
    """Units of every sub-block, from the pair of prefixes with the most Fisher information."""
    heads = _rank(structure.of_kind("attention"), fisher, floors)
    neurons = _rank(structure.of_kind("ffn"), fisher, floors)

    def cost_of(num_heads: int, num_neurons: int) -> int | float:
        counts = heads.counts(num_heads) | neurons.counts(num_neurons)
        return cost.total(structure.with_units(counts, structure.hidden_size))

    best, most = None, -1.0
    for num_heads in heads.lengths:
        fitting = bisect_right(neurons.lengths, budget, key=partial(cost_of, num_heads))
        if fitting == 0:
            break  # more heads cost no less
        num_neurons = neurons.lengths[fitting - 1]
        total = heads.kept_fisher[num_heads] + neurons.kept_fisher[num_neurons]
        if total >= most:
            best, most = (num_heads, num_neurons), total
    if best is None:
        needed = cost_of(heads.lengths[0], neurons.lengths[0])
        raise BudgetError(
            f"the floors ({floors.min_heads} heads and {floors.min_neurons} neurons per sub-block) "
            f"need {needed:,.0f}, but the budget is {budget:,.0f}; lower pruning.min_heads, "
            "pruning.min_neurons or pruning.target_sparsity"
        )
    return heads.counts(best[0]) | neurons.counts(best[1])


@dataclass(frozen=True)
class _Ranking:
    """All heads, or all neurons, of a model, best first."""

    names: tuple[str, ...]
    owner: Int[Tensor, " units"]
    """Position of each unit's sub-block in `names`."""
    kept_fisher: list[float]
    """Fisher information of the first 0, 1, 2, ... units together."""
    lengths: range
    """How many of them may stay: at least those of the floors."""

    def counts(self, length: int) -> dict[str, int]:
        """Units of each sub-block among the first `length`."""
        counts = torch.bincount(self.owner[:length], minlength=len(self.names)).tolist()
        return dict(zip(self.names, counts, strict=True))


def _rank(sub_blocks: Sequence[SubBlock], fisher: Mapping[str, Tensor], floors: Floors) -> _Ranking:
    sizes = [s.num_units for s in sub_blocks]
    owner = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes, dtype=torch.long))
    values = torch.cat([torch.empty(0), *(fisher[s.name].cpu() for s in sub_blocks)]).double()
    must_stay = [min(floors.of(s), s.num_units) for s in sub_blocks]
    order = ranking(values, owner, must_stay) if sub_blocks else owner
    kept = [0.0, *values[order].cumsum(dim=0).tolist()]
    lengths = range(sum(must_stay), len(owner) + 1)
    return _Ranking(tuple(s.name for s in sub_blocks), owner[order], kept, lengths)


def _aligned(
    structure: Structure,
    counts: Mapping[str, int],
    fisher: Mapping[str, Tensor],
    *,
    floors: Floors,
    budget: int | float,
    cost: CostModel,
) -> dict[str, int]:
    """The same counts as multiples that hardware likes; the hidden size is left alone."""
    sub_blocks = structure.sub_blocks
    density = [fisher[s.name].double() / cost.unit_cost(structure, s) for s in sub_blocks]
    aligned = aligned_counts(
        structure,
        [*(counts[s.name] for s in sub_blocks), structure.hidden_size],
        [*(values.sort(descending=True).values.tolist() for values in density), []],
        budget=budget,
        at_least=[*(floors.of(s) for s in sub_blocks), structure.hidden_size],
        round_to=floors.round_to,
        cost=cost,
    )
    return dict(zip((s.name for s in sub_blocks), aligned, strict=False))


def _best_units(fisher: Tensor, count: int) -> Tensor:
    order = fisher.cpu().argsort(descending=True, stable=True)
    return order[:count].sort().values


def rearrange(
    gradients: Float[Tensor, "batches units"], kept: Int[Tensor, " kept"]
) -> Int[Tensor, " kept"]:
    """Swap kept and pruned units of one sub-block while that lowers `block_fisher_loss`.

    The diagonal alone does not see that two units do the same, or opposite, things [Kwon et al.
    2022, rearrangement]. Every kept unit, the least informative first, may change places with the
    pruned unit for which the loss gets least; sweeps go on until none swaps, at most `MAX_SWEEPS`.
    The loss never rises, and the count stays.

    Args:
        gradients: Derivatives by the sub-block's masks, one row per batch.
        kept: Units that stay so far.

    Returns:
        Sorted units that stay.
    """
    squares = fisher_information(gradients)
    is_kept = torch.zeros(gradients.shape[1], dtype=torch.bool, device=gradients.device)
    is_kept[kept.to(gradients.device)] = True
    if bool(is_kept.all()) or not bool(is_kept.any()):
        return kept
    pruned_sum = gradients[:, ~is_kept].sum(dim=1)
    for _ in range(MAX_SWEEPS):
        num_swaps = 0
        for unit in squares.argsort(stable=True).tolist():
            if not is_kept[unit]:
                continue
            without = pruned_sum + gradients[:, unit]
            # |without - g_v|^2 - |without|^2 for every unit v that might come back
            gain = (squares - 2 * (without @ gradients)).masked_fill(is_kept, torch.inf)
            other = int(gain.argmin())
            swapped = without - gradients[:, other]
            if swapped.square().sum() < (1 - LEAST_GAIN) * pruned_sum.square().sum():
                is_kept[unit], is_kept[other] = False, True
                pruned_sum = swapped
                num_swaps += 1
        if num_swaps == 0:
            break
    return is_kept.nonzero().flatten().to(kept.device)

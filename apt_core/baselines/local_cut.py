"""How many units sub-blocks keep when all are cut by the same ratio; pure, on counts alone."""

from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from apt_core.errors import BudgetError
from apt_core.models.structure import Structure, SubBlock
from apt_core.pruner.align import quantum_of
from apt_core.pruner.cost import CostModel
from apt_core.pruner.search import Floors

_FIRST, _LAST, _OF = 4, 2, 32
_SHARES = 2**20
"""Steps between nothing and everything in which a common ratio is sought."""


def cut_layers(num_layers: int, first: int | None, last: int | None) -> range:
    """The layers that may be cut; LLM-Pruner leaves 4 of 32 at the beginning and 2 at the end.

    Args:
        num_layers: layers of the decoder.
        first: layers to leave whole at the beginning; None: ``num_layers * 4 / 32``, half rounded
            up, so that a model of 4 layers keeps one.
        last: the same at the end; None: ``num_layers * 2 / 32``.

    Returns:
        Their numbers; none where all are protected.
    """

    def scaled(count: int) -> int:
        return (2 * num_layers * count + _OF) // (2 * _OF)

    start = scaled(_FIRST) if first is None else first
    return range(start, num_layers - (scaled(_LAST) if last is None else last))


@dataclass(frozen=True)
class _Group:
    """One sub-block that may be cut."""

    name: str
    is_attention: bool
    size: int
    least: int
    quantum: int

    def nearest(self, share: int) -> int:
        """The allowed count nearest to a share of all units, half rounded up."""
        steps = (2 * share * self.size + _SHARES * self.quantum) // (2 * _SHARES * self.quantum)
        return self._allowed(steps * self.quantum)

    def below(self, share: int) -> int:
        """The largest allowed count within a share of all units, or the least."""
        if share == _SHARES:
            return self.size
        return self._allowed(share * self.size // (_SHARES * self.quantum) * self.quantum)

    def _allowed(self, count: int) -> int:
        return min(self.size, max(self.least, count))


def local_counts(
    structure: Structure,
    cuttable: Collection[str],
    budget: float,
    floors: Floors,
    *,
    cost: CostModel,
) -> dict[str, int]:
    """Units that every sub-block keeps, the same share of each, so that a budget is filled.

    The share is the largest at which the whole costs no more than the budget, heads (groups)
    rounded to whole ones. What heads leave of the budget goes to neurons: to all sub-blocks alike,
    then one by one in model order; to heads only if no neuron is left to give back. Every sub-block
    keeps a unit, or its floor.

    Args:
        structure: what there is now.
        cuttable: names of the sub-blocks that may be cut; the others stay whole.
        budget: cost that may stay.
        floors: units that must stay; their widths' quantum.
        cost: what the budget counts.

    Returns:
        Counts by name, of the sub-blocks that may be cut.

    Raises:
        BudgetError: the rest and the floors alone cost more.
    """
    groups = [_group(s, floors) for s in structure.sub_blocks if s.name in cuttable]
    groups = [group for group in groups if group.size > 0]

    def total(counts: Mapping[str, int]) -> float:
        return cost.total(structure.with_units(counts, structure.hidden_size))

    least = {group.name: group.least for group in groups}
    if not total(least) <= budget:
        raise _unreachable(total(least), budget, cost)

    counts = _largest(lambda share: _counts(groups, share, share), total, budget)
    heads = {group.name: counts[group.name] for group in groups if group.is_attention}
    counts = _largest(lambda share: _counts(groups, 0, share) | heads, total, budget)
    neurons = [group for group in groups if not group.is_attention]
    attention = [group for group in groups if group.is_attention]
    for group in (*neurons, *attention):
        counts = _one_more(group, counts, total, budget)
    return counts


def _group(sub_block: SubBlock, floors: Floors) -> _Group:
    quantum, size = quantum_of(sub_block, floors.round_to), sub_block.num_units
    floor = max(1, floors.of(sub_block))
    least = min(size, -(-floor // quantum) * quantum)
    return _Group(sub_block.name, sub_block.kind == "attention", size, least, quantum)


def _counts(groups: Sequence[_Group], head_share: int, neuron_share: int) -> dict[str, int]:
    return {
        group.name: group.nearest(head_share) if group.is_attention else group.below(neuron_share)
        for group in groups
    }


def _largest(
    counts_at: Callable[[int], dict[str, int]],
    total: Callable[[Mapping[str, int]], float],
    budget: float,
) -> dict[str, int]:
    """The counts of the largest share within the budget; the cost never falls from share to share.

    No share at all, which leaves the least of everything, must fit.
    """
    return counts_at(
        bisect_right(range(_SHARES + 1), budget, key=lambda i: total(counts_at(i))) - 1
    )


def _one_more(
    group: _Group,
    counts: dict[str, int],
    total: Callable[[Mapping[str, int]], float],
    budget: float,
) -> dict[str, int]:
    """The counts with one more quantum of a group, if it has one and the budget allows it."""
    more = min(group.size, counts[group.name] + group.quantum)
    larger = {**counts, group.name: more}
    return larger if total(larger) <= budget else counts


def _unreachable(needed: float, budget: float, cost: CostModel) -> BudgetError:
    return BudgetError(
        f"the protected layers and what every other sub-block keeps need "
        f"{needed:,.{cost.decimals}f} {cost.unit}, but the budget is {budget:,.{cost.decimals}f}; "
        "lower pruning.target_sparsity, or set pruning.protect_first_layers and "
        "pruning.protect_last_layers (or pruning.min_heads, pruning.min_neurons) lower"
    )

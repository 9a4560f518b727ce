"""How many ranks each adapter gets from the tuning budget [paper section 4.3]; exact integers."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal


def allocate_ranks(
    ranks: Mapping[str, int],
    importance: Mapping[str, float],
    widths: Mapping[str, int],
    budget: int,
    *,
    strategy: Literal["top_half", "uniform"],
    growth: Literal["fill", "ratio"],
    max_rank: int,
) -> dict[str, int]:
    """Grow adapters so that their parameters approach, and never exceed, the tuning budget.

    With ``P = sum_a widths_a * r_a`` the parameters now and Delta the budget:

    - ``top_half``: the floor(N / 2) most important of the adapters with ``0 < r < max_rank`` grow,
      N being all adapters with ``r > 0``; ties go to the alphabetically first site.
      ``r' = min(max_rank, floor(r * rate))``: at the rate of ``fill`` they absorb the whole
      increase; at that of ``ratio``, ``Delta / P`` as the paper prints it, about half of it.
    - ``uniform`` (the ablation "without adaptive tuning salience"): ``r' = floor(r * Delta / P)``
      for every adapter. `growth` and `max_rank` play no part in it, and importance is not read.

    Ranks never shrink and an adapter of rank 0 stays without. If P already exceeds the budget (it
    can after a change of budget; pruning only lowers P), nothing changes. Deviation from the paper:
    `fill` and `max_rank`. An importance that is not finite is a ValueError.

    Args:
        ranks: Adapter site -> rank now; 0 where the sub-block is gone.
        importance: Adapter site -> I(H_apt); needed for the sites that could grow.
        widths: Adapter site -> inputs + outputs of the adapted layer after pruning: parameters of
            one rank.
        budget: Trainable adapter parameters allowed at this step, Delta.
        strategy: Who grows.
        growth: By how much.
        max_rank: No adapter grows beyond it under ``top_half``.

    Returns:
        Adapter site -> new rank, for every site of `ranks` and in their order.
    """
    params = {site: widths[site] * rank for site, rank in ranks.items()}
    total = sum(params.values())
    if total == 0 or budget <= total:
        return dict(ranks)
    if strategy == "uniform":
        return {site: rank * budget // total for site, rank in ranks.items()}

    selected = _top_half(ranks, importance, max_rank)
    grown, base = _rate(params, selected, budget, growth)
    return dict(ranks) | {site: min(max_rank, ranks[site] * grown // base) for site in selected}


def _rate(
    params: Mapping[str, int],
    selected: Sequence[str],
    budget: int,
    growth: Literal["fill", "ratio"],
) -> tuple[int, int]:
    """The factor on the ranks of the selected adapters, as numerator and denominator.

    With P_s the parameters of the selected adapters: ``1 + (Delta - P) / P_s`` (fill) or
    ``Delta / P`` (ratio).
    """
    total = sum(params.values())
    if growth == "ratio":
        return budget, total
    selected_params = sum(params[site] for site in selected)
    return selected_params + budget - total, selected_params


def _top_half(
    ranks: Mapping[str, int], importance: Mapping[str, float], max_rank: int
) -> list[str]:
    """The more important half of all adapters, taken from those that may still grow."""
    eligible = [site for site, rank in ranks.items() if 0 < rank < max_rank]
    for site in eligible:
        if not math.isfinite(importance[site]):
            raise ValueError(
                f"importance of adapter {site} is {importance[site]}, not a finite number"
            )
    num_adapters = sum(rank > 0 for rank in ranks.values())
    return sorted(eligible, key=lambda site: (-importance[site], site))[: num_adapters // 2]

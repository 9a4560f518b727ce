"""Rank allocation with exact fractions: the rate first, then the floor."""

from collections.abc import Mapping
from fractions import Fraction
from math import floor


def grown_ranks(
    ranks: Mapping[str, int],
    importance: Mapping[str, float],
    widths: Mapping[str, int],
    budget: int,
    *,
    method: str,
    max_rank: int,
) -> dict[str, int]:
    """`method` is ``fill``, ``ratio`` (both for the top half) or ``uniform``."""
    total = sum(widths[site] * ranks[site] for site in ranks)
    sites = list(ranks) if method == "uniform" else _top_half(ranks, importance, max_rank)
    selected_total = sum(widths[site] * ranks[site] for site in sites)
    result = dict(ranks)
    for site in sites:
        if method == "fill":
            rate = 1 + Fraction(budget - total, selected_total)
        else:
            rate = Fraction(budget, total) if total else Fraction(1)
        rank = floor(ranks[site] * rate)
        if method != "uniform":
            rank = min(rank, max_rank)
        result[site] = max(ranks[site], rank)
    return result


def _top_half(
    ranks: Mapping[str, int], importance: Mapping[str, float], max_rank: int
) -> list[str]:
    quota = len([site for site in ranks if ranks[site] > 0]) // 2
    chosen: list[str] = []
    for site in sorted(sorted(ranks), key=lambda s: importance[s], reverse=True):
        if len(chosen) < quota and 0 < ranks[site] < max_rank:
            chosen.append(site)
    return chosen

"""Which stage and which micro-batch fit into a device."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

MAX_ROWS = 4096
"""Larger micro-batches are not looked at."""


@dataclass(frozen=True)
class Fit:
    """What fits under one stage."""

    stage: int
    rows: int
    """The largest micro-batch; 0: not even one row fits."""


def largest_rows(needed: Callable[[int], int], available: int, limit: int = MAX_ROWS) -> int:
    """The most rows whose memory fits, by doubling and halving.

    Args:
        needed: rows -> bytes; must not fall.
        available: bytes.
        limit: of the rows.

    Returns:
        Rows; 0 if one does not fit.
    """
    if needed(1) > available:
        return 0
    low, high = 1, 2
    while high <= limit and needed(high) <= available:
        low, high = high, high * 2
    high = min(high, limit + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if needed(middle) <= available else (low, middle)
    return low


def lowest_fitting(fits: Iterable[Fit], rows: int) -> Fit | None:
    """The lowest stage that takes a micro-batch of so many rows: it sends least.

    Args:
        fits: one per stage, the lowest first.
        rows: of the micro-batch that is wanted.

    Returns:
        The stage, or None if none does.
    """
    return next((fit for fit in fits if fit.rows >= rows), None)

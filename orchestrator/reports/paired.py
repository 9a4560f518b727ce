"""Two cells compared seed by seed (PURE): is a difference more than the seeds' noise?"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

from orchestrator.reports.stat import Stat
from orchestrator.reports.student import CONFIDENCE, probability_within

Verdict = Literal["higher", "lower", "within noise", "unknown"]
MAX_EXACT_PAIRS = 5
"""Up to here all n^n resamples are listed, so nothing is left to chance."""
NUM_RESAMPLES = 10_000
_SEED = 2401_12200


@dataclass(frozen=True)
class PairedDifference:
    """The differences of two cells over the seeds that both ran."""

    seeds: tuple[int, ...]
    differences: Stat
    """First minus second, one per seed."""
    bootstrap_95: tuple[float, float] | None
    """Percentile bootstrap of the mean difference; None for fewer than two pairs."""

    @property
    def n(self) -> int:
        """How many pairs there are."""
        return self.differences.n

    @property
    def p_value(self) -> float | None:
        """Two-sided p of the paired t test, the second opinion; None for fewer than two pairs."""
        mean, std = self.differences.mean, self.differences.std
        if mean is None or std is None:
            return None
        if std == 0:
            return 1.0 if mean == 0 else 0.0
        return 1.0 - probability_within(abs(mean) / std * math.sqrt(self.n), self.n - 1)

    @property
    def verdict(self) -> Verdict:
        """Whether the first is higher or lower; both intervals have to leave out zero.

        The bootstrap of a few seeds is too narrow (of three its ends are the smallest and the
        largest difference), and the t test believes in a normal distribution: one alone does not
        do. Many rows make some differences look real by chance: nothing is corrected for that.
        """
        intervals = (self.bootstrap_95, self.differences.interval_95)
        mean = self.differences.mean
        if mean is None or None in intervals:
            return "unknown"
        if any(low <= 0 <= high for low, high in filter(None, intervals)):
            return "within noise"
        return "higher" if mean > 0 else "lower"


def compare_paired(
    first: Mapping[int, float], second: Mapping[int, float], scale: float = 1.0
) -> PairedDifference:
    """Compare two cells over their common seeds.

    Args:
        first: Seed -> value.
        second: The same of the cell that it is compared to.
        scale: The differences' unit.

    Returns:
        Differences, intervals, verdict; without a common seed nothing but `unknown`.
    """
    seeds = tuple(sorted(first.keys() & second.keys()))
    differences = [scale * (first[seed] - second[seed]) for seed in seeds]
    return PairedDifference(seeds, Stat.of(differences), bootstrap_interval(differences))


def bootstrap_interval(
    values: Sequence[float], confidence: float = CONFIDENCE
) -> tuple[float, float] | None:
    """Percentile bootstrap of the mean.

    Args:
        values: What is resampled.
        confidence: In (0, 1).

    Returns:
        Both ends; None for fewer than two values. The same values always give the same interval.
    """
    if len(values) < 2:  # noqa: PLR2004 - one value has no spread
        return None
    means = sorted(math.fsum(sample) / len(values) for sample in _resamples(values))
    tail = (1 - confidence) / 2
    return percentile(means, tail), percentile(means, 1 - tail)


def _resamples(values: Sequence[float]) -> list[tuple[float, ...]]:
    if len(values) <= MAX_EXACT_PAIRS:
        return list(product(values, repeat=len(values)))
    size = len(values)
    # One call for all: ten thousand small ones take 1.6 times as long.
    drawn = random.Random(_SEED).choices(values, k=size * NUM_RESAMPLES)
    return [tuple(drawn[start : start + size]) for start in range(0, len(drawn), size)]


def percentile(ordered: Sequence[float], fraction: float) -> float:
    """The value at a fraction of the way through sorted values, linear between neighbours."""
    position = fraction * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])

"""Mean and spread of a few numbers (PURE)."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.reports.student import two_sided_quantile

MIN_SEEDS_FOR_SPREAD = 3


@dataclass(frozen=True)
class Stat:
    """The values of one quantity over the runs of a cell; empty when nothing was measured."""

    values: tuple[float, ...] = ()

    @classmethod
    def of(cls, values: Iterable[float | None]) -> "Stat":
        """The statistic of the values that are there."""
        return cls(tuple(float(value) for value in values if value is not None))

    @property
    def n(self) -> int:
        """How many runs measured it."""
        return len(self.values)

    @property
    def mean(self) -> float | None:
        """The arithmetic mean; None without values."""
        return math.fsum(self.values) / self.n if self.values else None

    @property
    def std(self) -> float | None:
        """The sample standard deviation (over n - 1); None for fewer than two values."""
        mean = self.mean
        if mean is None or self.n == 1:
            return None
        return math.sqrt(math.fsum((value - mean) ** 2 for value in self.values) / (self.n - 1))

    @property
    def min_max(self) -> tuple[float, float] | None:
        """The smallest and the largest value; None without values."""
        return (min(self.values), max(self.values)) if self.values else None

    @property
    def half_width_95(self) -> float | None:
        """Half of the 95% interval of the mean (Student's t); None for fewer than two values."""
        std = self.std
        return None if std is None else two_sided_quantile(self.n - 1) * std / math.sqrt(self.n)

    @property
    def interval_95(self) -> tuple[float, float] | None:
        """The 95% interval of the mean over runs, by Student's t; None for fewer than two values.

        It holds the seeds' noise alone: the same data, the same split, the same machine.
        """
        mean, half = self.mean, self.half_width_95
        return None if mean is None or half is None else (mean - half, mean + half)

    def scaled(self, factor: float) -> "Stat":
        """The same statistic in another unit."""
        return Stat(tuple(value * factor for value in self.values))


NOTHING = Stat()
"""Not measured."""

"""Mean and spread of a few numbers (PURE)."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

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

    def scaled(self, factor: float) -> "Stat":
        """The same statistic in another unit."""
        return Stat(tuple(value * factor for value in self.values))


NOTHING = Stat()
"""Not measured."""

"""Kurtosis with nothing but Python floats."""

import math
from collections.abc import Sequence


def excess_kurtosis(values: Sequence[float]) -> float:
    """mean(((x - mean) / std)^4) - 3 with the unbiased std; 0 where that is undefined."""
    n = len(values)
    mean = math.fsum(values) / n
    if n == 1 or all(value == values[0] for value in values):
        return 0.0
    std = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    return math.fsum(((value - mean) / std) ** 4 for value in values) / n - 3.0

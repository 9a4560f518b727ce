"""Student's t distribution with whole degrees of freedom (PURE): closed forms, no table."""

import math
from functools import cache

CONFIDENCE = 0.95
_BISECTIONS = 200


def probability_within(t: float, df: int) -> float:
    """P(abs(T) <= t) for Student's t.

    Abramowitz and Stegun 26.7.3 and 26.7.4: with theta = atan(t / sqrt(df)), a finite sum of
    powers of cos(theta), other ones for odd than for even degrees of freedom.

    Args:
        t: Not negative.
        df: Degrees of freedom, 1 or more.

    Returns:
        A probability in [0, 1].
    """
    theta = math.atan2(t, math.sqrt(df))
    sine, cosine = math.sin(theta), math.cos(theta)
    if df % 2:
        total = theta + (sine * _sum_of_powers(cosine, cosine, 2, df - 2) if df > 1 else 0.0)
        return 2 / math.pi * total
    return sine * _sum_of_powers(1.0, cosine, 1, df - 2)


def _sum_of_powers(first: float, cosine: float, factor: int, last: int) -> float:
    """`first`, then each term times ``factor / (factor + 1) * cosine^2``, `factor` in twos."""
    total = term = first
    while factor < last:
        term *= factor / (factor + 1) * cosine**2
        total += term
        factor += 2
    return total


@cache
def two_sided_quantile(df: int, confidence: float = CONFIDENCE) -> float:
    """The t with P(abs(T) <= t) = confidence.

    Args:
        df: Degrees of freedom, 1 or more.
        confidence: In (0, 1).

    Returns:
        The quantile; 12.706 for one degree of freedom and 95%.
    """
    low, high = 0.0, 1.0
    while probability_within(high, df) < confidence:
        high *= 2
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if probability_within(middle, df) < confidence:
            low = middle
        else:
            high = middle
    return (low + high) / 2

import math

import pytest
from scipy import stats

from orchestrator.reports.student import probability_within, two_sided_quantile


@pytest.mark.parametrize("df", [1, 2, 3, 4, 5, 10, 29, 100])
@pytest.mark.parametrize("t", [0.0, 0.3, 1.0, 2.776, 12.706, 500.0])
def test_probabilities_agree_with_scipy(t: float, df: int) -> None:
    expected = stats.t.cdf(t, df) - stats.t.cdf(-t, df)
    assert probability_within(t, df) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("df", [1, 2, 3, 4, 9, 17, 60])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
def test_quantiles_agree_with_scipy(df: int, confidence: float) -> None:
    expected = stats.t.ppf((1 + confidence) / 2, df)
    assert two_sided_quantile(df, confidence) == pytest.approx(expected, rel=1e-9)


def test_one_degree_of_freedom_is_the_tangent() -> None:
    # The Cauchy distribution: P(abs(T) <= t) = 2 atan(t) / pi.
    assert two_sided_quantile(1) == pytest.approx(math.tan(0.475 * math.pi), rel=1e-12)


def test_two_degrees_of_freedom_by_hand() -> None:
    # P(abs(T) <= t) = t / sqrt(t^2 + 2); at t = 1: 1 / sqrt(3).
    assert probability_within(1.0, 2) == pytest.approx(1 / math.sqrt(3), rel=1e-14)

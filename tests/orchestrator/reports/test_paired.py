import math
import statistics
from itertools import product

import numpy as np
import pytest
from scipy import stats

from orchestrator.reports.paired import bootstrap_interval, compare_paired, percentile


def test_the_bootstrap_of_three_by_hand() -> None:
    # 27 resamples of (0, 1, 2): sums 0 to 6, each end once; 2.5% of 26 steps is position 0.65,
    # between the sums 0 and 1 (which comes 3 times): 0.65 / 3.
    low, high = bootstrap_interval([0.0, 1.0, 2.0]) or (math.nan, math.nan)
    assert (low, high) == pytest.approx((0.65 / 3, 2 - 0.65 / 3), rel=1e-12)


@pytest.mark.parametrize("values", [(0.1, 0.4), (1.0, -2.0, 0.5, 0.25), (3.0, 1.0, 4.0, 1.0, 5.0)])
def test_few_values_give_the_exact_bootstrap(values: tuple[float, ...]) -> None:
    means = [statistics.fmean(sample) for sample in product(values, repeat=len(values))]
    expected = np.percentile(means, [2.5, 97.5])
    assert bootstrap_interval(values) == pytest.approx(tuple(expected), rel=1e-12)


def test_many_values_agree_with_scipys_bootstrap_and_repeat() -> None:
    values = [0.3, 0.1, -0.2, 0.5, 0.4, 0.0, 0.2, 0.6, -0.1, 0.3]
    mine = bootstrap_interval(values)
    theirs = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(1)
    ).confidence_interval
    # Both are estimates: ends vary by about 0.003 (an end's density over 10,000 draws).
    assert mine == pytest.approx((theirs.low, theirs.high), abs=0.015)
    assert bootstrap_interval(values) == mine


def test_the_t_test_agrees_with_scipy() -> None:
    first = {1: 0.91, 2: 0.93, 3: 0.92, 4: 0.95}
    second = {1: 0.90, 2: 0.91, 3: 0.93, 4: 0.92}
    paired = compare_paired(first, second)
    expected = stats.ttest_rel(list(first.values()), list(second.values()))
    assert paired.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert paired.differences.interval_95 == pytest.approx(
        tuple(expected.confidence_interval(0.95)), rel=1e-9
    )


def test_seeds_are_paired_and_the_others_left_out() -> None:
    paired = compare_paired({1: 5.0, 2: 7.0, 9: 100.0}, {2: 4.0, 1: 3.0, 8: -100.0})
    assert (paired.seeds, paired.differences.values, paired.n) == ((1, 2), (2.0, 3.0), 2)


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ((0.010, 0.011, 0.012), "higher"),
        ((-0.010, -0.011, -0.012), "lower"),
        ((0.01, -0.01, 0.02), "within noise"),
        # The bootstrap leaves out zero, the t interval does not: not enough.
        ((0.001, 0.05, 0.01), "within noise"),
        ((0.01, 0.03), "within noise"),
        ((0.0, 0.0, 0.0), "within noise"),
        ((0.02,), "unknown"),
        ((), "unknown"),
    ],
)
def test_a_difference_counts_when_both_intervals_leave_out_zero(
    differences: tuple[float, ...], verdict: str
) -> None:
    paired = compare_paired(dict(enumerate(differences)), dict.fromkeys(range(9), 0.0))
    assert paired.verdict == verdict
    assert (paired.bootstrap_95 is None) == (len(differences) < 2)
    assert (paired.p_value is None) == (len(differences) < 2)


def test_equal_differences_are_beyond_chance() -> None:
    assert compare_paired({1: 1.5, 2: 2.5}, {1: 1.0, 2: 2.0}).p_value == 0.0


@pytest.mark.parametrize(
    ("fraction", "value"), [(0.0, 1.0), (0.5, 2.0), (0.75, 3.0), (1.0, 4.0), (0.25, 1.5)]
)
def test_percentiles_are_linear_between_neighbours(fraction: float, value: float) -> None:
    assert percentile([1.0, 2.0, 4.0], fraction) == value

import statistics

import pytest
from scipy import stats

from orchestrator.reports.stat import Stat


@pytest.mark.parametrize("values", [(0.91, 0.92), (0.91, 0.925, 0.93), (1e9, 1e9 + 1, 1e9 + 2)])
def test_mean_and_sample_std_agree_with_the_statistics_module(values: tuple[float, ...]) -> None:
    stat = Stat.of(values)
    assert stat.mean == pytest.approx(statistics.mean(values), rel=1e-12)
    assert stat.std == pytest.approx(statistics.stdev(values), rel=1e-9)
    assert stat.min_max == (min(values), max(values))


def test_one_value_has_a_mean_but_no_spread() -> None:
    stat = Stat.of([0.5])
    assert stat.mean == 0.5
    assert stat.std is None


def test_nothing_measured_is_not_zero() -> None:
    stat = Stat.of([None, None])
    assert (stat.n, stat.mean, stat.std, stat.min_max) == (0, None, None, None)


def test_missing_values_do_not_count() -> None:
    assert Stat.of([1.0, None, 3.0]).mean == 2.0


@pytest.mark.parametrize("values", [(0.91, 0.92), (0.91, 0.925, 0.93), (3.0, 1.0, 4.0, 1.0, 5.0)])
def test_the_interval_agrees_with_scipy(values: tuple[float, ...]) -> None:
    interval = Stat.of(values).interval_95
    expected = stats.t.interval(
        0.95, len(values) - 1, loc=statistics.mean(values), scale=stats.sem(values)
    )
    assert interval == pytest.approx(expected, rel=1e-9)


def test_one_value_and_none_have_no_interval() -> None:
    assert Stat.of([0.5]).interval_95 is None
    assert Stat().interval_95 is None
    assert Stat().half_width_95 is None


def test_equal_values_have_an_interval_of_no_width() -> None:
    assert Stat.of([2.0, 2.0, 2.0]).interval_95 == (2.0, 2.0)

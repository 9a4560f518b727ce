"""The largest micro-batch, and the lowest stage that takes one."""

import pytest

from apt_core.capacity.fit import MAX_ROWS, Fit, largest_rows, lowest_fitting


@pytest.mark.parametrize("available", [9, 10, 12, 13, 99, 100, 101, 3000])
def test_it_is_the_largest_that_fits(available: int) -> None:
    def needed(rows: int) -> int:
        return 10 + 3 * (rows - 1)

    rows = largest_rows(needed, available)
    assert rows == 0 or needed(rows) <= available
    assert needed(rows + 1) > available


def test_a_limit_ends_the_search() -> None:
    assert largest_rows(lambda rows: 0, 1) == MAX_ROWS
    assert largest_rows(lambda rows: rows, 100, limit=7) == 7
    assert largest_rows(lambda rows: rows, 100, limit=1) == 1


def test_the_lowest_stage_that_takes_the_rows_is_chosen() -> None:
    fits = [Fit(0, 0), Fit(1, 4), Fit(2, 8), Fit(3, 9)]
    assert lowest_fitting(fits, 4) == Fit(1, 4)
    assert lowest_fitting(fits, 5) == Fit(2, 8)
    assert lowest_fitting(fits, 10) is None

"""The tuning budget's straight line."""

import pytest

from apt_core.tuner.schedule import tuning_budget

ROBERTA_BASE_RANK_8 = 663_552


def test_roberta_base_ends_at_four_times_its_initial_parameters() -> None:
    assert tuning_budget(0, 10, ROBERTA_BASE_RANK_8, 4.0) == ROBERTA_BASE_RANK_8
    assert tuning_budget(10, 10, ROBERTA_BASE_RANK_8, 4.0) == 2_654_208


def test_budget_rises_in_equal_strides_from_the_first_event_on() -> None:
    budgets = [tuning_budget(k, 4, 1000, 3.0) for k in range(1, 5)]
    assert budgets == [1500, 2000, 2500, 3000]


def test_budget_is_rounded_down() -> None:
    # 100 + 1 * 100 * k / 3 = 133.33, 166.67, 200.
    assert [tuning_budget(k, 3, 100, 2.0) for k in (1, 2, 3)] == [133, 166, 200]


def test_ratio_one_never_grows() -> None:
    assert {tuning_budget(k, 5, 777, 1.0) for k in range(6)} == {777}


@pytest.mark.parametrize("index", [-1, 4])
def test_an_event_outside_the_schedule_is_refused(index: int) -> None:
    with pytest.raises(ValueError, match=r"must be in 0\.\.3"):
        tuning_budget(index, 3, 100, 2.0)

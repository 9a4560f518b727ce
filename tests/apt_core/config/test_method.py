"""Sections `pruning` and `tuning`: values that follow from others."""

from apt_core.config import Duration, PruningConfig, TuningConfig


def test_ten_events_unless_told_otherwise() -> None:
    assert PruningConfig().event_count == 10
    assert PruningConfig(num_events=3).event_count == 3
    assert PruningConfig(update_frequency=Duration(50, "steps")).event_count is None


def test_the_rank_cap_is_eight_times_the_initial_rank_unless_told_otherwise() -> None:
    assert TuningConfig().rank_cap(initial_rank=4) == 32
    assert TuningConfig(max_rank=20).rank_cap(initial_rank=4) == 20

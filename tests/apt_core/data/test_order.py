"""Which rows, in which order."""

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apt_core.data.order import calibration_items, draw_holdout, draw_subset, epoch_batches


def batches(num_items: int, **changes: int) -> list[list[int]]:
    arguments = {"seed": 1, "epoch": 0, "batch_size": 4, "bucket_batches": 3, **changes}
    return epoch_batches(range(num_items), length_of=lambda item: item % 7, **arguments)


@given(st.integers(0, 60), st.integers(1, 9), st.integers(1, 5), st.integers(0, 3))
def test_an_epoch_has_whole_batches_of_different_items(
    num_items: int, batch_size: int, bucket_batches: int, epoch: int
) -> None:
    found = batches(num_items, batch_size=batch_size, bucket_batches=bucket_batches, epoch=epoch)
    assert [len(batch) for batch in found] == [batch_size] * (num_items // batch_size)
    items = list(chain(*found))
    assert len(set(items)) == len(items)
    assert set(items) <= set(range(num_items))


def test_what_is_left_out_changes_from_epoch_to_epoch() -> None:
    left_out = {frozenset(range(23)) - set(chain(*batches(23, epoch=epoch))) for epoch in range(9)}
    assert len(left_out) > 3


def test_sorted_runs_hold_rows_of_like_length() -> None:
    def spread(bucket_batches: int) -> int:
        found = batches(200, bucket_batches=bucket_batches)
        return sum(max(i % 7 for i in batch) - min(i % 7 for i in batch) for batch in found)

    assert spread(50) < spread(3) < spread(1)
    # 50 batches of 4 rows: 200 rows of 7 lengths change length 6 times.
    assert spread(50) <= 6


def test_the_order_of_sorted_batches_is_shuffled() -> None:
    lengths = [max(item % 7 for item in batch) for batch in batches(200, bucket_batches=50)]
    assert lengths != sorted(lengths)


@pytest.mark.parametrize("bucket_batches", [1, 3])
def test_seed_and_epoch_alone_decide(bucket_batches: int) -> None:
    one = batches(40, bucket_batches=bucket_batches)
    assert batches(40, bucket_batches=bucket_batches) == one
    assert batches(40, bucket_batches=bucket_batches, seed=2) != one
    assert batches(40, bucket_batches=bucket_batches, epoch=1) != one


def test_the_holdout_is_the_same_in_all_runs() -> None:
    drawn = draw_holdout(100, 10)
    assert drawn == draw_holdout(100, 10) == sorted(set(drawn))
    assert len(drawn) == 10
    assert drawn != list(range(10))
    assert draw_holdout(100, 0) == []


def test_a_subset_keeps_the_order_and_all_rows_are_kept_without_a_limit() -> None:
    rows = list(range(0, 60, 3))
    drawn = draw_subset(rows, 5)
    assert drawn == draw_subset(rows, 5) == sorted(drawn)
    assert len(drawn) == 5
    assert set(drawn) < set(rows)
    assert draw_subset(rows, None) == draw_subset(rows, 99) == rows


def test_calibration_has_an_order_of_its_own() -> None:
    assert calibration_items(range(20)) == calibration_items(range(20))
    assert sorted(calibration_items(range(20))) == list(range(20))
    assert calibration_items(range(20)) != list(range(20))

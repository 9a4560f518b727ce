"""Event steps, the cubic density curve and the scheduler's answers about single steps."""

import math
from itertools import pairwise

import pytest

from apt_core.pruner.schedule import SparsityScheduler, cubic_density, event_steps

# task: rows, epochs until stop, epochs of warm-up, K, steps per epoch, event steps, densities.
# Batch size 32, start at step 200, target sparsity 0.6.
TABLE = {
    "sst2": (
        67_349,
        3,
        1,
        10,
        2105,
        (811, 1423, 2034, 2646, 3257, 3869, 4480, 5092, 5703, 6315),
        (1, 1, 1, 0.860, 0.666, 0.536, 0.457, 0.417, 0.402, 0.400),
    ),
    "mnli": (
        392_702,
        3,
        1,
        10,
        12_272,
        (3861, 7523, 11184, 14846, 18508, 22169, 25831, 29492, 33154, 36816),
        (1, 1, 1, 0.841, 0.655, 0.531, 0.455, 0.416, 0.402, 0.400),
    ),
    "cola": (
        8_551,
        24,
        4,
        8,
        268,
        (979, 1758, 2537, 3316, 4095, 4874, 5653, 6432),
        (1, 0.846, 0.658, 0.532, 0.456, 0.417, 0.402, 0.400),
    ),
    "mrpc": (
        3_668,
        24,
        4,
        8,
        115,
        (520, 840, 1160, 1480, 1800, 2120, 2440, 2760),
        (1, 0.859, 0.665, 0.536, 0.457, 0.417, 0.402, 0.400),
    ),
    "rte": (
        2_490,
        24,
        4,
        8,
        78,
        (409, 618, 827, 1036, 1245, 1454, 1663, 1872),
        (1, 0.870, 0.672, 0.539, 0.459, 0.417, 0.402, 0.400),
    ),
}


@pytest.mark.parametrize("task", TABLE)
def test_published_schedule_comes_out_to_the_printed_digits(task: str) -> None:
    rows, epochs, warmup, num_events, per_epoch, steps, densities = TABLE[task]
    assert math.ceil(rows / 32) == per_epoch
    stop = epochs * per_epoch
    assert event_steps(200, stop, num_events) == steps
    curve = [
        cubic_density(s, start=200, stop=stop, warmup=warmup * per_epoch, final_density=0.4)
        for s in steps
    ]
    assert [round(d, 3) for d in curve] == list(densities)


def test_densities_by_hand() -> None:
    # No warm-up, start 0, stop 8, d_T = 0.5: d(s) = 0.5 + 0.5 * ((8 - s) / 8)^3.
    at = {0: 1.0, 2: 0.5 + 0.5 * 27 / 64, 4: 0.5 + 0.5 / 8, 6: 0.5 + 0.5 / 64, 8: 0.5, 99: 0.5}
    for step, density in at.items():
        assert cubic_density(step, start=0, stop=8, warmup=0, final_density=0.5) == density


def test_density_stays_initial_through_warmup_and_falls_strictly_after_it() -> None:
    curve = [
        cubic_density(s, start=10, stop=50, warmup=20, final_density=0.3, initial_density=0.9)
        for s in range(61)
    ]
    assert curve[:31] == [0.9] * 31
    assert all(a > b for a, b in pairwise(curve[30:51]))
    assert curve[50:] == [pytest.approx(0.3)] * 11


def test_event_steps_are_rounded_down_and_end_at_stop() -> None:
    # (20 - 3) / 4 = 4.25: 7.25, 11.5, 15.75, 20.
    assert event_steps(3, 20, 4) == (7, 11, 15, 20)
    assert event_steps(0, 9, 1) == (9,)


@pytest.fixture
def scheduler() -> SparsityScheduler:
    """Events at 10, 20, 30; the first only grows ranks."""
    return SparsityScheduler((10, 20, 30), (1.0, 0.7, 0.5), window=4, start=0, stop=30)


def test_next_event_is_the_first_at_or_after_the_step(scheduler: SparsityScheduler) -> None:
    found = [scheduler.next_event(step) for step in (0, 10, 11, 20, 30, 31)]
    assert found == [0, 0, 1, 1, 2, None]


def test_only_the_event_steps_are_events(scheduler: SparsityScheduler) -> None:
    assert [step for step in range(40) if scheduler.is_event(step)] == [10, 20, 30]


def test_windows_cover_the_steps_up_to_events_that_prune(scheduler: SparsityScheduler) -> None:
    inside = [step for step in range(40) if scheduler.in_window(step)]
    assert inside == [17, 18, 19, 20, 27, 28, 29, 30]
    assert [step for step in range(40) if scheduler.window_opens(step)] == [17, 27]


def test_a_window_as_long_as_the_gap_leaves_no_step_between() -> None:
    tight = SparsityScheduler((4, 8), (0.8, 0.6), window=4, start=0, stop=8)
    assert [step for step in range(1, 12) if tight.in_window(step)] == list(range(1, 9))
    assert [step for step in range(1, 12) if tight.window_opens(step)] == [1, 5]


def test_target_is_the_next_density_and_sparsity_the_reached_one(
    scheduler: SparsityScheduler,
) -> None:
    assert [scheduler.target_density(s) for s in (1, 10, 11, 20, 21, 99)] == [
        1,
        1,
        0.7,
        0.7,
        0.5,
        0.5,
    ]
    reached = [scheduler.sparsity_at(s) for s in (0, 19, 20, 29, 30, 99)]
    assert reached == pytest.approx([0, 0, 0.3, 0.3, 0.5, 0.5])


def test_a_run_without_events_stays_dense() -> None:
    empty = SparsityScheduler((), (), window=0, start=0, stop=0)
    assert empty.next_event(5) is None
    assert not empty.is_event(0)
    assert not empty.in_window(5)
    assert not empty.window_opens(5)
    assert (empty.target_density(5), empty.sparsity_at(5)) == (1.0, 0.0)


def test_cubic_scheduler_reads_the_curve_at_the_events() -> None:
    built = SparsityScheduler.cubic(
        steps=(2, 4, 8), start=0, stop=8, warmup=0, window=2, final_density=0.5
    )
    assert built.densities == (0.5 + 0.5 * 27 / 64, 0.5625, 0.5)
    assert built.event_steps == (2, 4, 8)


@pytest.mark.parametrize(
    ("steps", "densities", "message"),
    [
        ((1, 2), (0.5,), "2 event steps but 1 densities"),
        ((2, 2), (0.7, 0.5), "ascend"),
        ((1, 2), (0.5, 0.7), "must not rise"),
        ((1,), (1.1,), "must not rise"),
    ],
)
def test_impossible_schedules_are_refused(
    steps: tuple[int, ...], densities: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        SparsityScheduler(steps, densities, window=1, start=0, stop=2)

"""The order of turns, what counts of them, and spreads by hand."""

from collections.abc import Callable

import pytest
import torch

from apt_core.evaluator import turns
from apt_core.evaluator.turns import (
    Spread,
    cuda_seconds_of,
    seconds_of,
    timer_of,
    times_in_turns,
)


def test_everything_has_one_turn_per_round_and_warm_up_does_not_count() -> None:
    made: list[str] = []
    seconds = iter([90.0, 90.0, 1.0, 10.0, 2.0, 20.0, 3.0, 30.0])

    def timer(call: Callable[[], object]) -> float:
        call()
        return next(seconds)

    calls = [lambda: made.append("a"), lambda: made.append("b")]
    times = times_in_turns([calls], warmup=1, repeats=3, timer=timer)
    assert made == ["a", "b"] * 4
    assert times == [[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]]


def test_rounds_start_over_when_the_clock_starts() -> None:
    made: list[int] = []
    rounds = [[lambda i=i: made.append(i)] for i in range(3)]
    times_in_turns(rounds, warmup=2, repeats=4)
    assert made == [0, 1, 0, 1, 2, 0]


def test_the_clock_runs_from_idle_to_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, waits = [0.0], []
    monkeypatch.setattr(turns.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(turns, "synchronize", lambda: waits.append(clock[0]))

    def call() -> None:
        clock[0] += 2.5

    assert seconds_of(call) == 2.5
    assert waits == [0.0, 2.5]


def test_gpus_are_timed_by_events() -> None:
    assert timer_of(torch.device("cpu")) is seconds_of
    assert timer_of(torch.device("cuda", 0)) is cuda_seconds_of


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_events_see_the_work_and_not_only_its_launch() -> None:
    a = torch.ones(4096, 4096, device="cuda")

    def call() -> None:
        for _ in range(20):
            a @ a

    call()
    # 20 x 137 GFLOP: no GPU does that in a millisecond.
    assert cuda_seconds_of(call) > 1e-3


def test_spreads_by_hand() -> None:
    assert Spread.of([5.0, 1.0, 2.0, 4.0, 3.0]) == Spread(3.0, 2.0, 4.0, 1.0)
    # Between 1 and 3: half way for the median, a quarter and three for the quartiles.
    assert Spread.of([3.0, 1.0]) == Spread(2.0, 1.5, 2.5, 1.0)
    assert Spread.of([7.0]) == Spread(7.0, 7.0, 7.0, 7.0)

"""Timing calls in turns, so that a slow moment of the machine meets all of them alike."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

Call = Callable[[], object]
Timer = Callable[[Call], float]
"""Seconds that a call takes."""


def times_in_turns(
    rounds: Sequence[Sequence[Call]], *, warmup: int, repeats: int, timer: Timer | None = None
) -> list[list[float]]:
    """Seconds of calls that are made one after the other, round by round.

    Args:
        rounds: each holds one call of everything that is compared; they are gone through in order,
            from the first one again when the clock starts.
        warmup: rounds before the clock starts.
        repeats: rounds that count.
        timer: how a call is timed; None: `seconds_of`.

    Returns:
        For every place in a round its times, in the order in which they were taken.
    """
    time_call = timer or seconds_of
    order = [rounds[i % len(rounds)] for i in (*range(warmup), *range(repeats))]
    taken = [[time_call(call) for call in turn] for turn in order][warmup:]
    return [list(times) for times in zip(*taken, strict=True)]


def seconds_of(call: Call) -> float:
    """Seconds by the clock, from an idle device to an idle device."""
    synchronize()
    start = time.perf_counter()
    call()
    synchronize()
    return time.perf_counter() - start


def cuda_seconds_of(call: Call) -> float:
    """Seconds between two CUDA events around the call, on the current stream."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    synchronize()
    start.record()
    call()
    end.record()
    synchronize()
    return float(start.elapsed_time(end)) / 1000


def timer_of(device: torch.device) -> Timer:
    """CUDA events on a GPU, the clock on a CPU."""
    return cuda_seconds_of if device.type == "cuda" else seconds_of


def synchronize() -> None:
    """Wait until the GPU has done what it was told, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@dataclass(frozen=True)
class Spread:
    """What several times say: their median, the quartiles around it, and the shortest."""

    median: float
    lower: float
    """A quarter of the values is at or below it."""
    upper: float
    """A quarter of the values is at or above it."""
    fastest: float
    """The shortest: what other work on the machine has disturbed least."""

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of at least one value; a single one is all there is."""
        if len(values) == 1:
            return cls(*[values[0]] * 4)
        lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, lower, upper, min(values))

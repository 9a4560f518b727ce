"""When to prune and how much may stay: event steps, cubic density curve, `SparsityScheduler`.

Standard library only, so that the driver can plan a run before torch is imported.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


def event_steps(start: int, stop: int, num_events: int) -> tuple[int, ...]:
    """The steps at which blocks are removed and ranks grow.

    Formula (paper, section 4.2; the authors' code drops the first point):
    ``s_k = floor(start + (stop - start) * k / K)`` for ``k = 1..K``.

    Args:
        start: Step from which events are counted; itself no event.
        stop: Step of the last event.
        num_events: K, the number of events.

    Returns:
        K steps in ascending order, the last one equal to `stop`.
    """
    return tuple(start + (stop - start) * k // num_events for k in range(1, num_events + 1))


def cubic_density(
    step: int,
    *,
    start: int,
    stop: int,
    warmup: int,
    final_density: float,
    initial_density: float = 1.0,
) -> float:
    """Density (1 - sparsity) that the cubic schedule allows at a step.

    Formula (paper, section 4.2, which prints the density curve under the name of sparsity):
    ``d(s) = min(d_0, d_T + (d_0 - d_T) * ((stop - s) / (stop - start - warmup)) ** 3)``,
    so nothing is removed before ``start + warmup`` and everything is by `stop`.

    Args:
        step: Step s; values beyond `stop` count as `stop`.
        start: Step at which the schedule begins.
        stop: Step at which the final density is reached.
        warmup: Steps after `start` during which nothing is removed.
        final_density: d_T in (0, 1].
        initial_density: d_0 in (0, 1].

    Returns:
        A density between `final_density` and `initial_density`.
    """
    left = max(0, stop - step) / (stop - start - warmup)
    return min(initial_density, final_density + (initial_density - final_density) * left**3)


@dataclass(frozen=True)
class SparsityScheduler:
    """Which density must be reached when, and in which steps masks decay beforehand."""

    event_steps: tuple[int, ...]
    """Strictly ascending; empty when the run neither prunes nor grows."""
    densities: tuple[float, ...]
    """Density to be reached at each event, never rising."""
    window: int
    """Steps, up to and including an event, in which the masks of doomed blocks decay to 0."""
    start: int
    """Step at which the schedule begins (and salience is first collected)."""
    stop: int
    """Step of the last event."""
    initial_density: float = 1.0
    """Density before the first event."""

    def __post_init__(self) -> None:
        """Refuse values that no schedule can have.

        Raises:
            ValueError: When lengths differ, steps do not ascend or a density rises.
        """
        if len(self.event_steps) != len(self.densities):
            raise ValueError(
                f"{len(self.event_steps)} event steps but {len(self.densities)} densities"
            )
        if any(a >= b for a, b in pairwise(self.event_steps)):
            raise ValueError(f"event steps must ascend strictly, got {self.event_steps}")
        curve = (self.initial_density, *self.densities)
        if any(a < b for a, b in pairwise(curve)):
            raise ValueError(f"densities must not rise, got {curve}")

    @classmethod
    def cubic(
        cls,
        *,
        steps: Sequence[int],
        start: int,
        stop: int,
        warmup: int,
        window: int,
        final_density: float,
        initial_density: float = 1.0,
    ) -> "SparsityScheduler":
        """The cubic density curve read at the given event steps.

        Args:
            steps: Event steps, strictly ascending.
            start: Step at which the schedule begins.
            stop: Step at which the final density is reached.
            warmup: Steps after `start` during which nothing is removed.
            window: Steps of mask decay before an event.
            final_density: Density to reach, in (0, 1].
            initial_density: Density before the first event, in (0, 1].

        Returns:
            The scheduler.
        """
        densities = tuple(
            cubic_density(
                step,
                start=start,
                stop=stop,
                warmup=warmup,
                final_density=final_density,
                initial_density=initial_density,
            )
            for step in steps
        )
        return cls(tuple(steps), densities, window, start, stop, initial_density)

    def next_event(self, step: int) -> int | None:
        """Index of the first event at or after this step; None when all are over."""
        index = bisect_left(self.event_steps, step)
        return index if index < len(self.event_steps) else None

    def is_event(self, step: int) -> bool:
        """Whether blocks are removed and ranks grow right after this step."""
        index = self.next_event(step)
        return index is not None and self.event_steps[index] == step

    def prunes_at(self, index: int) -> bool:
        """Whether this event lowers the density (the others only grow ranks)."""
        before = self.densities[index - 1] if index > 0 else self.initial_density
        return self.densities[index] < before

    def in_window(self, step: int) -> bool:
        """Whether masks decay: one of the last `window` steps up to an event that prunes."""
        index = self.next_event(step)
        if index is None or not self.prunes_at(index):
            return False
        return step > self.event_steps[index] - self.window

    def window_opens(self, step: int) -> bool:
        """Whether this is the first step of a window."""
        index = self.next_event(step)
        if index is None or not self.prunes_at(index):
            return False
        return step == self.event_steps[index] - self.window + 1

    def target_density(self, step: int) -> float:
        """Density to be reached at the next event; after the last one, the final density."""
        index = self.next_event(step)
        if index is not None:
            return self.densities[index]
        return self.densities[-1] if self.densities else self.initial_density

    def sparsity_at(self, step: int) -> float:
        """Sparsity in force once this step and its event, if any, are over: a staircase."""
        index = bisect_left(self.event_steps, step + 1) - 1
        return 1.0 - (self.densities[index] if index >= 0 else self.initial_density)

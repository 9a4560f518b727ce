"""A two-level factorial design read as main effects and interactions, seed by seed (PURE)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from math import fsum, prod

from orchestrator.reports.stat import Stat

Levels = tuple[bool, ...]
"""Which factors are on, in the order of their names."""


@dataclass(frozen=True)
class Effect:
    """What turning one factor on does, or how several do more together than one by one."""

    factors: tuple[str, ...]
    values: Stat
    """One per seed."""

    @property
    def is_interaction(self) -> bool:
        """Whether it is of more than one factor."""
        return len(self.factors) > 1

    @property
    def verdict(self) -> str:
        """Whether the 95% interval over seeds (Student's t) leaves out zero."""
        interval = self.values.interval_95
        if interval is None:
            return "unknown"
        low, high = interval
        if low <= 0 <= high:
            return "within noise"
        return "raises" if low > 0 else "lowers"


def all_levels(num_factors: int) -> tuple[Levels, ...]:
    """Every cell of the design: all off first, all on last."""
    return tuple(product((False, True), repeat=num_factors))


def common_seeds(responses: Mapping[Levels, Mapping[int, float]]) -> tuple[int, ...]:
    """The seeds that ran in every cell."""
    seeds = [set(by_seed) for by_seed in responses.values()]
    return tuple(sorted(set.intersection(*seeds))) if seeds else ()


def effects(
    names: Sequence[str], responses: Mapping[Levels, Mapping[int, float]]
) -> tuple[Effect, ...]:
    """All main effects, then the interactions of two, of three, and so on.

    With signs s = +1 where a factor is on and -1 where it is off, the effect of a set of k factors
    is ``sum over cells of prod(s of the set) * response / 2^(K - 1)`` for K factors: a main effect
    is the mean with the factor on minus the mean with it off; an interaction of two is half of how
    much more the one does while the other is on than while it is off.

    Args:
        names: The factors.
        responses: Cell -> seed -> response; all 2^K cells.

    Returns:
        One effect per set of factors, with a value for each seed that ran in every cell.
    """
    seeds = common_seeds(responses)
    divisor = 2 ** (len(names) - 1)
    found = []
    for size in range(1, len(names) + 1):
        for chosen in combinations(range(len(names)), size):
            values = [
                fsum(_sign(levels, chosen) * by[seed] for levels, by in responses.items()) / divisor
                for seed in seeds
            ]
            found.append(Effect(tuple(names[index] for index in chosen), Stat.of(values)))
    return tuple(found)


def _sign(levels: Levels, chosen: Sequence[int]) -> int:
    return prod(1 if levels[index] else -1 for index in chosen)

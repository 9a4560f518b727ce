"""AdaptiveTuner: reads adapter importance and a budget, and says which ranks grow."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from apt_core.models.structure import Structure
from apt_core.tuner.allocate import allocate_ranks
from apt_core.tuner.schedule import tuning_budget


@dataclass(frozen=True)
class RankPlan:
    """The rank of every adapter after the event."""

    ranks: Mapping[str, int]
    budget: int
    """Adapter parameters allowed at this event."""


class AdaptiveTuner:
    """Grows the ranks of the most important adapters within a budget (paper section 4.3).

    Args:
        initial_params: adapter parameters at the start of training.
        num_events: how many growth events there are.
        max_tuning_params_ratio: adapter parameters at the end over those at the start.
        max_rank: no adapter grows beyond it.
        strategy: ``top_half`` or ``uniform``.
        growth: ``fill`` or ``ratio``.
    """

    def __init__(
        self,
        *,
        initial_params: int,
        num_events: int,
        max_tuning_params_ratio: float,
        max_rank: int,
        strategy: Literal["top_half", "uniform"],
        growth: Literal["fill", "ratio"],
    ) -> None:
        self.initial_params = initial_params
        self.num_events = num_events
        self.ratio = max_tuning_params_ratio
        self.max_rank = max_rank
        self.strategy: Literal["top_half", "uniform"] = strategy
        self.growth: Literal["fill", "ratio"] = growth

    def plan(
        self, event_index: int, structure: Structure, importance: Mapping[str, float]
    ) -> RankPlan:
        """The ranks after an event.

        Args:
            event_index: which event it is, 1 for the first.
            structure: the structure that the event's pruning leaves.
            importance: running importance of every adapter.

        Returns:
            The plan; ranks never shrink.
        """
        budget = tuning_budget(event_index, self.num_events, self.initial_params, self.ratio)
        known = {site: importance.get(site, 0.0) for site in structure.ranks}
        ranks = allocate_ranks(
            structure.ranks,
            known,
            structure.site_widths(),
            budget,
            strategy=self.strategy,
            growth=self.growth,
            max_rank=self.max_rank,
        )
        return RankPlan(ranks, budget)

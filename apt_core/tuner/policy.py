"""AdaptiveTuner: reads adapter importance and a budget, and says which ranks grow."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from apt_core.models.arch import ModelMap
from apt_core.models.structure import Structure
from apt_core.tuner.allocate import allocate_ranks
from apt_core.tuner.schedule import tuning_budget


@dataclass(frozen=True)
class RankPlan:
    """The rank of every adapter after the event."""

    ranks: Mapping[str, int]
    budget: int
    """Adapter parameters allowed at this event."""


def adapter_widths(structure: Structure, model_map: ModelMap) -> dict[str, int]:
    """in_features + out_features of every adapted projection: parameters per rank.

    Args:
        structure: shapes and adapter sites.
        model_map: which sub-block a site belongs to.

    Returns:
        Site -> width.
    """
    channels = {s.name: s.num_units * s.unit_width for s in structure.sub_blocks}
    return {
        site: structure.hidden_size + channels[model_map.owner_of(site)] for site in structure.ranks
    }


def num_adapter_params(structure: Structure, model_map: ModelMap) -> int:
    """Parameters of all tuning branches (663,552 for roberta-base at rank 8)."""
    widths = adapter_widths(structure, model_map)
    return sum(rank * widths[site] for site, rank in structure.ranks.items())


class AdaptiveTuner:
    """Grows the ranks of the most important adapters within a budget (paper section 4.3).

    Args:
        model_map: which sub-block a site belongs to.
        initial_params: adapter parameters at the start of training.
        num_events: how many growth events there are.
        max_tuning_params_ratio: adapter parameters at the end over those at the start.
        max_rank: no adapter grows beyond it.
        strategy: ``top_half`` or ``uniform``.
        growth: ``fill`` or ``ratio``.
    """

    def __init__(
        self,
        model_map: ModelMap,
        *,
        initial_params: int,
        num_events: int,
        max_tuning_params_ratio: float,
        max_rank: int,
        strategy: Literal["top_half", "uniform"],
        growth: Literal["fill", "ratio"],
    ) -> None:
        self.model_map = model_map
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
            adapter_widths(structure, self.model_map),
            budget,
            strategy=self.strategy,
            growth=self.growth,
            max_rank=self.max_rank,
        )
        return RankPlan(ranks, budget)

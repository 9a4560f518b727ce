"""AdaptivePruner: reads salience and a target density, and says which blocks stay."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from apt_core.models.arch import ModelMap
from apt_core.models.structure import Structure
from apt_core.models.surgery_record import KeptBlocks
from apt_core.pruner.border import describe_border
from apt_core.pruner.cost import PARAMS, CostModel
from apt_core.pruner.schedule import SparsityScheduler
from apt_core.pruner.search import BlockSalience, Floors, search_blocks
from apt_core.pruner.surgery import structure_after


@dataclass(frozen=True)
class PrunePlan:
    """Which blocks stay, and what that means."""

    kept: KeptBlocks
    structure: Structure
    """The structure that the plan leads to."""
    target_density: float
    unit_scales: Mapping[str, Tensor] = field(default_factory=dict)
    """Sub-block name -> factor of each kept unit, for methods that also weigh what stays."""
    border: Mapping[str, Any] = field(default_factory=dict)
    """What the choice turned on, for the run's record; see `describe_border`."""


class AdaptivePruner:
    """Chooses blocks by salience density under a budget (paper section 4.2).

    Args:
        scheduler: when to prune and to what density.
        original: the unpruned structure; densities are fractions of its cost.
        model_map: which sub-block an adapter belongs to.
        floors: what must stay.
        mask_step: how far masks move at every step of a window.
        cost: what a density is a fraction of; the paper counts parameters.
    """

    def __init__(
        self,
        scheduler: SparsityScheduler,
        original: Structure,
        model_map: ModelMap,
        *,
        floors: Floors,
        mask_step: float,
        cost: CostModel = PARAMS,
    ) -> None:
        self.scheduler = scheduler
        self.original = original
        self.model_map = model_map
        self.floors = floors
        self.mask_step = mask_step
        self.cost = cost

    def plan(self, step: int, structure: Structure, salience: BlockSalience) -> PrunePlan:
        """The blocks that stay at the next event.

        Args:
            step: the present step; the density is that of the next event at or after it.
            structure: the present structure.
            salience: running salience of its blocks.

        Returns:
            The plan; it never costs more than the target density allows.
        """
        return self.plan_to(self.scheduler.target_density(step), structure, salience)

    def plan_to(self, density: float, structure: Structure, salience: BlockSalience) -> PrunePlan:
        """The blocks that stay at a density.

        Args:
            density: fraction of the original layers' cost that may stay.
            structure: the present structure.
            salience: salience of its blocks.

        Returns:
            The plan; it never costs more than the density allows.
        """
        budget = density * self.cost.total(self.original)
        kept = search_blocks(structure, salience, budget, self.floors, cost=self.cost)
        return PrunePlan(kept, structure_after(structure, kept, self.model_map), density)

    def explained(
        self, plan: PrunePlan, structure: Structure, salience: BlockSalience
    ) -> PrunePlan:
        """A plan with the evidence behind it, for the record.

        Args:
            plan: what `plan` said.
            structure: the structure it was given.
            salience: the salience it was given.

        Returns:
            The same plan with its border.
        """
        border = describe_border(structure, salience, plan.kept, cost=self.cost)
        return replace(plan, border=border)

"""Controls: blocks ranked by something that any salience must beat; adapters stay as they are."""

from dataclasses import replace

import torch
from torch import nn

from apt_core.models.arch import ModelMap
from apt_core.models.structure import Structure
from apt_core.pruner.search import BlockSalience
from apt_core.salience.collector import CollectorSettings, Salience, SalienceCollector
from apt_core.salience.merged import ReadParameters, merged_weight
from apt_core.salience.scores import weight_magnitude


class MagnitudeCollector(SalienceCollector):
    """The control that ranks blocks by the size of their weights, adapters folded in.

    S(b) is the sum of |W| over the weights that block b frees, so that its density S(b) / C(b) is
    their mean absolute value. Biases and norms are left out, as they are of C(b).
    """

    def measure(self, full_parameters: ReadParameters, gradient_scale: float) -> Salience:
        """This step's adapters, and the blocks' weights as they are.

        Args:
            full_parameters: reads parameters of the engine's module by name.
            gradient_scale: factor on all gradients, divided out.

        Returns:
            The step's own values.
        """
        measured = super().measure(full_parameters, gradient_scale)
        return replace(measured, blocks=self._magnitudes(full_parameters))

    def _magnitudes(self, full_parameters: ReadParameters) -> BlockSalience:
        units = {s.name: torch.zeros(s.num_units) for s in self.structure.sub_blocks}
        hidden = torch.zeros(self.structure.hidden_size)
        for index, name in self._alive():
            sub_block = self.model_map.sub_blocks[index]
            for projection in sub_block.projections:
                path = projection.path
                weight = merged_weight(self.model, path, self.prefix, full_parameters).detach()
                own = 1 if projection == sub_block.writer else 0  # the dimension that units cut
                units[name] = units[name].to(weight) + weight_magnitude(
                    weight, dim=own, unit_width=projection.unit_width
                )
                hidden = hidden.to(weight) + weight_magnitude(weight, dim=1 - own)
        return BlockSalience(units=units, hidden=hidden)


class RandomCollector(SalienceCollector):
    """The control that ranks blocks by a random number, drawn once and then kept.

    S(b) = u(b) * C(b) with u uniform in [0, 1): the density S(b) / C(b), by which blocks are
    ranked, is then u, and every kind of block is as likely to go as any other. The draws live where
    running averages do, so they follow surgery and come back from checkpoints; and they depend on
    the seed alone, so all workers have the same.

    Args:
        model: the student, with adapters.
        model_map: where its parts are.
        structure: its present structure.
        prefix: what stands before the student's parameter names in the engine's module.
        settings: how to measure.
        seed: the run's seed.
    """

    def __init__(
        self,
        model: nn.Module,
        model_map: ModelMap,
        structure: Structure,
        *,
        prefix: str,
        settings: CollectorSettings,
        seed: int,
    ) -> None:
        super().__init__(model, model_map, structure, prefix=prefix, settings=settings)
        self.seed = seed

    def measure(self, full_parameters: ReadParameters, gradient_scale: float) -> Salience:
        """This step's adapters, and the blocks' numbers.

        Args:
            full_parameters: reads parameters of the engine's module by name.
            gradient_scale: factor on all gradients, divided out.

        Returns:
            The step's own values.
        """
        measured = super().measure(full_parameters, gradient_scale)
        drawn = self.snapshot()
        return replace(measured, blocks=self._draw() if drawn is None else drawn.blocks)

    def commit(self, step_salience: Salience) -> None:
        """Average what is measured of adapters; the draws are taken as they are.

        Args:
            step_salience: what `measure` gave.
        """
        super().commit(step_salience)
        # An average of equal numbers drifts by rounding, and masks could flicker.
        blocks = step_salience.blocks
        self.averages |= {f"units/{name}": value for name, value in blocks.units.items()}
        self.averages["hidden"] = blocks.hidden

    def _draw(self) -> BlockSalience:
        structure = self.structure
        costs = [(s.num_units, structure.unit_cost(s)) for s in structure.sub_blocks]
        costs.append((structure.hidden_size, structure.hidden_cost()))
        generator = torch.Generator().manual_seed(self.seed)
        *units, hidden = (torch.rand(n, generator=generator) * cost for n, cost in costs)
        names = (s.name for s in structure.sub_blocks)
        return BlockSalience(units=dict(zip(names, units, strict=True)), hidden=hidden)

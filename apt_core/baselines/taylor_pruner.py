"""LLM-Pruner: cut a decoder once, before training, by the Taylor importance of coupled weights."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from apt_core.adapters.linear import APTLinear
from apt_core.baselines.local_cut import local_counts
from apt_core.baselines.taylor import CoupledWeight, keep_most_important, unit_importance
from apt_core.distiller.self_distiller import TaskDistiller
from apt_core.models.arch import ModelMap, SubBlockMap
from apt_core.models.structure import Structure
from apt_core.models.surgery_record import KeptBlocks, Surgery
from apt_core.models.trained_modules import STUDENT, TrainedModules
from apt_core.pruner.policy import PrunePlan
from apt_core.pruner.search import Floors
from apt_core.pruner.surgery import prune_model, structure_after
from apt_core.trainer.calibration import Calibration, evaluating


class TaylorPruner:
    """Cuts every sub-block of the middle layers by the same ratio [Ma et al. 2023].

    Frozen weights get gradients of the task loss for this measurement only, dropout off; adapters
    add nothing yet, so the frozen weight is the whole one. Every worker sees the same batches and
    so decides the same. No hidden dimension is cut.

    Args:
        model_map: where the student's parts are.
        original: the unpruned structure; the density is a fraction of its cost.
        layers: numbers of the layers that may be cut.
        calibration: what to measure with, and what the density is a fraction of.
        density: fraction of the layers' cost that stays.
        floors: what must stay.
        at_once: sub-blocks whose gradients are held at the same time; each lot passes all batches
            anew. None: all of them.
    """

    def __init__(
        self,
        model_map: ModelMap,
        original: Structure,
        *,
        layers: range,
        calibration: Calibration,
        density: float,
        floors: Floors,
        at_once: int | None = None,
    ) -> None:
        self.model_map = model_map
        self.original = original
        self.layers = layers
        self.calibration = calibration
        self.density = density
        self.floors = floors
        self.at_once = at_once

    def plan(self, modules: TrainedModules, structure: Structure) -> PrunePlan:
        """Measure and decide; the model's parameters stay as they are.

        Args:
            modules: plain modules with full parameters; moved to the device.
            structure: the student's structure.

        Returns:
            The units that stay.
        """
        sub_blocks = [s for s in self.model_map.sub_blocks if s.layer in self.layers]
        cost = self.calibration.cost
        budget = self.density * cost.total(self.original)
        names = {s.name for s in sub_blocks}
        counts = local_counts(structure, names, budget, self.floors, cost=cost)
        importance = self.measure(modules, [s for s in sub_blocks if s.name in counts])
        units = {
            s.name: keep_most_important(importance[s.name], counts[s.name])
            if s.name in counts
            else torch.arange(s.num_units)
            for s in structure.sub_blocks
        }
        kept = KeptBlocks(units, torch.arange(structure.hidden_size))
        return PrunePlan(kept, structure_after(structure, kept, self.model_map), self.density)

    def measure(
        self, modules: TrainedModules, sub_blocks: Sequence[SubBlockMap]
    ) -> dict[str, Tensor]:
        """The importance of every unit of some sub-blocks, on the CPU.

        Args:
            modules: plain modules with full parameters; moved to the device.
            sub_blocks: which.

        Returns:
            Sub-block name -> importances.
        """
        modules.to(self.calibration.device)
        lot = self.at_once or max(len(sub_blocks), 1)
        importance: dict[str, Tensor] = {}
        with evaluating(modules):
            for start in range(0, len(sub_blocks), lot):
                importance |= self._measure_lot(modules, sub_blocks[start : start + lot])
        return importance

    def _measure_lot(
        self, modules: TrainedModules, sub_blocks: Sequence[SubBlockMap]
    ) -> dict[str, Tensor]:
        parameters = [p for s in sub_blocks for p, _, _ in _coupled(modules.student, s)]
        distiller = TaskDistiller(self.model_map.head_kind)
        with _gradients_of(modules, parameters):
            for batch in self.calibration.batches():
                with self.calibration.precision():
                    loss = distiller.loss(modules, batch, 0).total
                loss.backward()
            return {s.name: _importance(modules.student, s).cpu() for s in sub_blocks}

    def apply(self, plan: PrunePlan, modules: TrainedModules, structure: Structure) -> Surgery:
        """Cut.

        Args:
            plan: what stays.
            modules: plain modules, changed in place.
            structure: the student's structure.

        Returns:
            The record.
        """
        return prune_model(modules.student, self.model_map, structure, plan.kept, prefix=STUDENT)


def _importance(model: nn.Module, sub_block: SubBlockMap) -> Tensor:
    parts = []
    for parameter, dim, width in _coupled(model, sub_block):
        assert parameter.grad is not None
        parts.append(CoupledWeight(parameter, parameter.grad, dim, width))
    return unit_importance(parts)


def _coupled(model: nn.Module, sub_block: SubBlockMap) -> Iterator[tuple[nn.Parameter, int, int]]:
    """Every parameter that the units share out: itself, the dimension of the units, their width."""
    for reader in sub_block.readers:
        layer = model.get_submodule(reader.path)
        assert isinstance(layer, APTLinear)
        yield layer.weight, 0, reader.unit_width
        if layer.bias is not None:
            yield layer.bias, 0, reader.unit_width
    writer = model.get_submodule(sub_block.writer.path)
    assert isinstance(writer, APTLinear)
    yield writer.weight, 1, sub_block.writer.unit_width


@contextmanager
def _gradients_of(modules: nn.Module, parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Only these parameters get gradients, and none has one before or after."""
    trainable = [p for p in modules.parameters() if p.requires_grad]
    modules.zero_grad(set_to_none=True)
    modules.requires_grad_(False)
    for parameter in parameters:
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.grad = None
        modules.requires_grad_(False)
        for parameter in trainable:
            parameter.requires_grad_(True)

"""MaskTuner: cuts a tuned model once, by mask tuning on calibration batches."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from apt_core.baselines.mask_rescaler import MaskRescaler
from apt_core.baselines.mask_tuning import (
    fisher_information,
    mask_gradients,
    rearrange,
    search_units,
)
from apt_core.distiller.self_distiller import TaskDistiller
from apt_core.models.arch import ModelMap
from apt_core.models.structure import Structure
from apt_core.models.surgery_record import KeptBlocks, Surgery, combine
from apt_core.models.trained_modules import STUDENT, TrainedModules
from apt_core.pruner.fold import fold_unit_scales
from apt_core.pruner.policy import PrunePlan
from apt_core.pruner.search import Floors
from apt_core.pruner.surgery import prune_model, structure_after
from apt_core.salience.taps import tap_input
from apt_core.trainer.calibration import Calibration, backward_passes, evaluating
from apt_core.trainer.distributed import broadcast_from_first

Gradients = dict[str, list[Tensor]]


class MaskTuner:
    """Prunes heads and neurons after tuning [Kwon et al. 2022]: search, rearrange, rescale.

    The Fisher information of unit masks comes from the task loss on calibration batches, one
    gradient per batch, dropout off. Every worker sees the same batches; what they measure is worker
    0's, so that no rounding of a GPU can part them.

    Args:
        model_map: where the student's parts are.
        original: the unpruned structure; the density is a fraction of its cost.
        calibration: what to measure with, and what the density is a fraction of.
        density: fraction of the layers' cost that stays.
        floors: what must stay.
        rescaler: fits real-valued masks to what stays; None: they stay 1.
    """

    def __init__(
        self,
        model_map: ModelMap,
        original: Structure,
        *,
        calibration: Calibration,
        density: float,
        floors: Floors,
        rescaler: MaskRescaler | None,
    ) -> None:
        self.model_map = model_map
        self.original = original
        self.calibration = calibration
        self.density = density
        self.floors = floors
        self.rescaler = rescaler

    def plan(self, modules: TrainedModules, structure: Structure) -> PrunePlan:
        """Measure and decide; the model's parameters stay as they are.

        Args:
            modules: plain modules with full parameters; moved to the device.
            structure: the student's structure.

        Returns:
            The units that stay, and their factors.
        """
        modules.to(self.calibration.device)
        gradients = self.measure(modules, structure)
        fisher = {name: fisher_information(rows).cpu() for name, rows in gradients.items()}
        cost = self.calibration.cost
        budget = self.density * cost.total(self.original)
        found = search_units(structure, fisher, budget, self.floors, cost)
        units = {name: rearrange(gradients[name], kept) for name, kept in found.items()}
        kept = KeptBlocks(units, torch.arange(structure.hidden_size))
        return PrunePlan(
            kept,
            structure_after(structure, kept, self.model_map),
            self.density,
            unit_scales=self._factors(modules, structure, kept),
        )

    def measure(self, modules: TrainedModules, structure: Structure) -> dict[str, Tensor]:
        """Derivatives of the task loss by every unit's mask, on the device.

        Args:
            modules: plain modules with full parameters, on the device.
            structure: the student's structure.

        Returns:
            Sub-block name -> (batches, units) in fp64.
        """
        seen: Gradients = {s.name: [] for s in structure.sub_blocks}
        passes = backward_passes(
            modules,
            TaskDistiller(self.model_map.head_kind),
            self.calibration,
            lambda _: self._recording(modules, structure, seen),
        )
        num_batches = sum(1 for _ in passes)
        empty = torch.zeros(num_batches, 0, device=self.calibration.device)
        gradients = {n: torch.stack(rows) if rows else empty for n, rows in seen.items()}
        broadcast_from_first(list(gradients.values()))
        return {name: rows.double() for name, rows in gradients.items()}

    @contextmanager
    def _recording(
        self, modules: TrainedModules, structure: Structure, seen: Gradients
    ) -> Iterator[None]:
        handles = []
        for sub_block, shape in zip(self.model_map.sub_blocks, structure.sub_blocks, strict=True):
            if shape.num_units > 0:
                writer = modules.student.get_submodule(sub_block.writer.path)
                record = _recorder(seen[sub_block.name], sub_block.unit_width)
                handles.append(tap_input(writer, record))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _factors(
        self, modules: TrainedModules, structure: Structure, kept: KeptBlocks
    ) -> Mapping[str, Tensor]:
        if self.rescaler is None:
            return {}
        with evaluating(modules):
            factors = self.rescaler.factors(
                modules.student, structure, kept, self.calibration.batches()
            )
        on_device = {name: values.to(self.calibration.device) for name, values in factors.items()}
        broadcast_from_first(list(on_device.values()))
        return {name: values.cpu() for name, values in on_device.items()}

    def apply(self, plan: PrunePlan, modules: TrainedModules, structure: Structure) -> Surgery:
        """Cut, and fold the factors of what stays into the weights.

        Args:
            plan: what stays.
            modules: plain modules, changed in place.
            structure: the student's structure.

        Returns:
            The record.
        """
        student, model_map = modules.student, self.model_map
        cut = prune_model(student, model_map, structure, plan.kept, prefix=STUDENT)
        if not plan.unit_scales:
            return cut
        after = cut.structure_after
        folded = fold_unit_scales(student, model_map, after, plan.unit_scales, prefix=STUDENT)
        return combine(cut, folded)


def _recorder(rows: list[Tensor], unit_width: int) -> Callable[[Tensor], None]:
    """Adds one row: the mask gradients of one pass."""

    def record(activation: Tensor) -> None:
        if not activation.requires_grad:
            activation.requires_grad_()  # in front of every adapter, and yet it may go
        held = activation.detach()
        activation.register_hook(lambda grad: rows.append(mask_gradients(held, grad, unit_width)))

    return record

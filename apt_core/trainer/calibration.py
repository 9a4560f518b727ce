"""One-shot pruning before the first step, from a few batches: how the paper prunes LLaMA."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from apt_core.distiller.self_distiller import TaskDistiller
from apt_core.models.structure import Structure
from apt_core.models.surgery_record import Surgery
from apt_core.models.trained_modules import STUDENT, TrainedModules
from apt_core.pruner.policy import AdaptivePruner, PrunePlan
from apt_core.pruner.search import BlockSalience
from apt_core.pruner.surgery import prune_model
from apt_core.salience.collector import SalienceCollector

Batches = Callable[[], Iterable[Mapping[str, Tensor]]]


class OneShotPruner:
    """Prunes an untrained model once, by salience averaged over calibration batches.

    The salience is that of training (paper Eq. 4, 5) with the task loss, dropout off, averaged
    instead of an exponential average: no batch is more recent than another. Deviation from the
    authors' code: a mean, not a sum, which ranks alike. Every worker sees the same batches and so
    decides the same.

    Args:
        pruner: knows the original structure and the floors.
        collector: measures blocks; used for calibration only.
        batches: gives the calibration batches, on the device of training.
        density: fraction of the layers' parameters that stays.
        device: where to calibrate.
        half: whether forward and backward run in bf16.
    """

    def __init__(
        self,
        pruner: AdaptivePruner,
        collector: SalienceCollector,
        *,
        batches: Batches,
        density: float,
        device: torch.device,
        half: bool = False,
    ) -> None:
        self.pruner = pruner
        self.collector = collector
        self.batches = batches
        self.density = density
        self.device = device
        self.half = half

    def plan(self, modules: TrainedModules, structure: Structure) -> PrunePlan:
        """Measure and decide; the model's parameters stay as they are.

        Args:
            modules: plain modules with full parameters; moved to the device.
            structure: the student's structure.

        Returns:
            The blocks that stay.
        """
        modules.to(self.device)
        distiller = TaskDistiller(self.pruner.model_map.head_kind)
        parameters = dict(modules.named_parameters())
        total: BlockSalience | None = None
        count = 0
        with evaluating(modules):
            for batch in self.batches():
                with (
                    self.collector.recording(batch),
                    torch.autocast(self.device.type, torch.bfloat16, enabled=self.half),
                ):
                    distiller.loss(modules, batch, 0).total.backward()
                modules.zero_grad(set_to_none=True)
                measured = self.collector.measure(
                    lambda names: {name: parameters[name].detach() for name in names}, 1.0
                )
                total = _sum(total, measured.blocks)
                count += 1
        assert total is not None, "there is at least one calibration batch"
        return self.pruner.plan_to(self.density, structure, _mean(total, count))

    def apply(self, plan: PrunePlan, modules: TrainedModules, structure: Structure) -> Surgery:
        """Cut.

        Args:
            plan: what stays.
            modules: plain modules, changed in place.
            structure: the student's structure.

        Returns:
            The record.
        """
        return prune_model(
            modules.student, self.pruner.model_map, structure, plan.kept, prefix=STUDENT
        )


@contextmanager
def evaluating(modules: TrainedModules) -> Iterator[None]:
    """Dropout off; afterwards the student's mode is what it was."""
    was_training = modules.student.training
    modules.eval()
    try:
        yield
    finally:
        modules.train(was_training)


def _sum(total: BlockSalience | None, step: BlockSalience) -> BlockSalience:
    if total is None:
        return step
    units = {name: total.units[name] + value for name, value in step.units.items()}
    return BlockSalience(units=units, hidden=total.hidden + step.hidden)


def _mean(total: BlockSalience, count: int) -> BlockSalience:
    units = {name: (value / count).cpu() for name, value in total.units.items()}
    return BlockSalience(units=units, hidden=(total.hidden / count).cpu())

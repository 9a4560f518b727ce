"""One-shot pruning before the first step, from a few batches: how the paper prunes LLaMA."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from apt_core.distiller.self_distiller import TaskDistiller
from apt_core.models.structure import Structure
from apt_core.models.surgery_record import Surgery
from apt_core.models.trained_modules import STUDENT, TrainedModules
from apt_core.pruner.cost import PARAMS, CostModel
from apt_core.pruner.policy import AdaptivePruner, PrunePlan
from apt_core.pruner.search import BlockSalience
from apt_core.pruner.surgery import prune_model
from apt_core.salience.collector import SalienceCollector

Batches = Callable[[], Iterable[Mapping[str, Tensor]]]


@dataclass(frozen=True)
class Calibration:
    """What blocks are measured with, where that is not done while training."""

    batches: Batches
    """Gives the calibration batches, on the device of training."""
    device: torch.device
    half: bool = False
    """Whether forward and backward run in bf16."""
    cost: CostModel = PARAMS
    """What the target counts."""

    def precision(self) -> torch.autocast:
        """The context that forward and backward run in."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.half)


class OneShotPruner:
    """Prunes an untrained model once, by salience averaged over calibration batches.

    The salience is that of training (paper Eq. 4, 5) with the task loss, dropout off, averaged
    instead of an exponential average: no batch is more recent than another. Deviation from the
    authors' code: a mean, not a sum, which ranks alike. Every worker sees the same batches and so
    decides the same.

    Args:
        pruner: knows the original structure and the floors.
        collector: measures blocks; used for calibration only.
        calibration: what to measure with.
        density: fraction of the layers' cost that stays.
    """

    def __init__(
        self,
        pruner: AdaptivePruner,
        collector: SalienceCollector,
        *,
        calibration: Calibration,
        density: float,
    ) -> None:
        self.pruner = pruner
        self.collector = collector
        self.calibration = calibration
        self.density = density

    def plan(self, modules: TrainedModules, structure: Structure) -> PrunePlan:
        """Measure and decide; the model's parameters stay as they are.

        Args:
            modules: plain modules with full parameters; moved to the device.
            structure: the student's structure.

        Returns:
            The blocks that stay.
        """
        modules.to(self.calibration.device)
        distiller = TaskDistiller(self.pruner.model_map.head_kind)
        parameters = dict(modules.named_parameters())
        total: BlockSalience | None = None
        count = 0
        for _ in backward_passes(modules, distiller, self.calibration, self.collector.recording):
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


def backward_passes(
    modules: TrainedModules,
    distiller: TaskDistiller,
    calibration: Calibration,
    recording: Callable[[Mapping[str, Tensor]], AbstractContextManager[None]],
) -> Iterator[None]:
    """The task loss forward and backward, batch by batch, dropout off; no gradient is left.

    Args:
        modules: plain modules with full parameters, on the device of the batches.
        distiller: gives the loss.
        calibration: what to pass, and how.
        recording: watches the two passes over one batch.

    Yields:
        After every batch.
    """
    with evaluating(modules):
        for batch in calibration.batches():
            with recording(batch), calibration.precision():
                distiller.loss(modules, batch, 0).total.backward()
            modules.zero_grad(set_to_none=True)
            yield


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

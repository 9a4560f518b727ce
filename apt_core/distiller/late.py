"""Self-distillation that begins some time after its teacher was taken."""

from apt_core.distiller.self_distiller import (
    Batch,
    DistillSettings,
    Loss,
    SelfDistiller,
    TaskDistiller,
)
from apt_core.models.arch import ModelMap
from apt_core.models.structure import Structure
from apt_core.models.trained_modules import TrainedModules


class LateDistiller(SelfDistiller):
    """A `SelfDistiller` that is deaf at first; mu rises meanwhile, as in the authors' code.

    Args:
        model_map: where the layers are.
        structure: the student's present structure.
        settings: weights and schedule.
        first_heard: steps that are done when the teacher is listened to.
    """

    def __init__(
        self,
        model_map: ModelMap,
        structure: Structure,
        settings: DistillSettings,
        first_heard: int,
    ) -> None:
        super().__init__(model_map, structure, settings)
        self.first_heard = first_heard

    def loss(self, modules: TrainedModules, batch: Batch, step: int) -> Loss:
        """The mixed loss, or until it is time the task loss alone.

        Args:
            modules: student and, while distilling, teacher and projection.
            batch: model inputs and labels.
            step: optimizer steps done so far.

        Returns:
            The loss and its parts.
        """
        if step < self.first_heard:
            return TaskDistiller(self.model_map.head_kind).loss(modules, batch, step)
        return super().loss(modules, batch, step)

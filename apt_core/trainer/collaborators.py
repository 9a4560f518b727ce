"""What the loop asks of its collaborators."""

from typing import Protocol, TypeVar

from apt_core.distiller.self_distiller import Batch, Loss
from apt_core.models.structure import Structure
from apt_core.models.surgery_record import Surgery
from apt_core.models.trained_modules import TrainedModules
from apt_core.report import RunReport
from apt_core.trainer.engine import Engine
from apt_core.trainer.state import TrainerState

Trainer_contra = TypeVar("Trainer_contra", contravariant=True)


class Distiller(Protocol):
    """Gives the loss of a micro-batch."""

    def loss(self, modules: TrainedModules, batch: Batch, step: int) -> Loss:
        """The loss at a step."""
        ...

    def remap(self, surgery: Surgery) -> None:
        """Follow a surgery."""
        ...

    def restore(self, structure: Structure) -> None:
        """Continue with a student of this structure."""
        ...


class Evaluation(Protocol[Trainer_contra]):
    """Scores the student, and sums a run up."""

    def begin(self, modules: TrainedModules) -> None:
        """Look at the untrained student, when a run starts anew."""
        ...

    def evaluate(self, engine: Engine, state: TrainerState) -> dict[str, float]:
        """Metrics on the evaluation split, the main one under ``metric``."""
        ...

    def held_out(self, engine: Engine) -> float:
        """The main metric on the held-out rows."""
        ...

    def report(self, trainer: Trainer_contra) -> RunReport:
        """Everything that the run measured."""
        ...


class Checkpoints(Protocol[Trainer_contra]):
    """Commits and restores everything that the rest of a run depends on."""

    def restore_latest(self, trainer: Trainer_contra) -> None:
        """Bring the trainer to the newest checkpoint, if there is one."""
        ...

    def save(self, trainer: Trainer_contra) -> None:
        """Capture a checkpoint and begin to commit it."""
        ...

    def settle(self, trainer: Trainer_contra) -> None:
        """Wait until it is committed."""
        ...

    def wait(self) -> None:
        """The same on this worker alone, whatever becomes of it."""
        ...

"""A training that stands in one phase and takes a step whenever it is told to."""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from torch import nn

from apt_core.errors import TrainingError
from apt_core.models.arch import ModelMap
from apt_core.models.structure import Structure
from apt_core.trainer.loop import APTrainer


class Rig:
    """A trainer that has been led into a phase.

    Args:
        trainer: the product's own, not yet started.
        lead: steps to the phase.
        density: that the phase must stand at; None: the unpruned model's.
        model_map: where the student's parts are.
    """

    def __init__(
        self,
        trainer: APTrainer,
        *,
        lead: int,
        density: float | None,
        model_map: ModelMap,
    ) -> None:
        self.trainer = trainer
        self.model_map = model_map
        self._batches = trainer.batches(0)
        self._engine = trainer.make_engine(trainer.modules, None)
        trainer.engine = self._engine
        for _ in range(lead):
            self.step()
        self._check(density)

    def step(self) -> None:
        """One step of the product's loop, and what it decides after it."""
        self._engine = self.trainer.advance(self._engine, self._batches)

    def release(self) -> None:
        """Give up the engine; the modules are plain then."""
        self._engine.release()

    @property
    def student(self) -> nn.Module:
        """The model that is trained."""
        return self.trainer.modules.student

    @property
    def structure(self) -> Structure:
        """Its present shape."""
        return self.trainer.state.structure

    @property
    def density(self) -> float:
        """The share of its layers' parameters that is left."""
        return 1.0 - self.trainer.state.sparsity

    @property
    def has_teacher(self) -> bool:
        """Whether somebody teaches at the moment."""
        return self.trainer.modules.teacher is not None

    @property
    def surgeries(self) -> Sequence[Mapping[str, Any]]:
        """The changes of shape that led here, see `surgery_entry`."""
        return self.trainer.state.surgeries

    def _check(self, density: float | None) -> None:
        """Whoever wants a pruned model must not measure a whole one."""
        is_cut = any(entry["pruned"] for entry in self.surgeries)
        if is_cut != (density is not None):
            raise TrainingError(
                f"the timetable led to density {self.density:.3f} instead of {density or 1.0:.3f}; "
                "this is a bug, please report it"
            )


class Unattended:
    """Stands where a training has its evaluator and its checkpoints: here nobody asks them."""

    def begin(self, modules: object) -> NoReturn:
        """Never called."""
        self._refuse()

    def evaluate(self, engine: object, state: object) -> NoReturn:
        """Never called."""
        self._refuse()

    def held_out(self, engine: object) -> NoReturn:
        """Never called."""
        self._refuse()

    def report(self, trainer: object) -> NoReturn:
        """Never called."""
        self._refuse()

    def restore_latest(self, trainer: object) -> NoReturn:
        """Never called."""
        self._refuse()

    def save(self, trainer: object) -> NoReturn:
        """Never called."""
        self._refuse()

    def settle(self, trainer: object) -> NoReturn:
        """Never called."""
        self._refuse()

    def wait(self) -> NoReturn:
        """Never called."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise AssertionError("a benchmark takes single steps: it neither evaluates nor saves")

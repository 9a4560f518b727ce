"""The controller of arms that cut once: at one step, what calibration batches say."""

from typing import Protocol

from apt_core.models.structure import Structure
from apt_core.models.surgery_record import Surgery, nothing_done
from apt_core.models.trained_modules import TrainedModules
from apt_core.pruner.policy import PrunePlan
from apt_core.trainer.controller import QuietController, ReadSalience
from apt_core.trainer.decision import Decision, check_agreement
from apt_core.trainer.state import TrainerState


class OneShot(Protocol):
    """Measures plain modules on calibration batches, and cuts what the measurement says."""

    def plan(self, modules: TrainedModules, structure: Structure) -> PrunePlan:
        """Measure and decide; the model's parameters stay as they are."""
        ...

    def apply(self, plan: PrunePlan, modules: TrainedModules, structure: Structure) -> Surgery:
        """Cut."""
        ...


class OneShotController(QuietController):
    """Tunes, cuts once, tunes again.

    Args:
        one_shot: measures and cuts.
        step: after which step.
    """

    def __init__(self, one_shot: OneShot, step: int) -> None:
        self.one_shot = one_shot
        self.step = step

    def decide(
        self, state: TrainerState, read_salience: ReadSalience, held_out: float | None = None
    ) -> Decision:
        """To cut, after the one step."""
        return Decision(one_shot=state.step == self.step)

    def apply(self, decision: Decision, modules: TrainedModules, state: TrainerState) -> Surgery:
        """Measure, see that all workers measured the same, and cut.

        Args:
            decision: what to do.
            modules: plain modules with full parameters, changed in place.
            state: the run's state; read only.

        Returns:
            The record.

        Raises:
            DecisionMismatchError: the workers decided differently.
        """
        if not decision.one_shot:
            return nothing_done(state.structure)
        plan = self.one_shot.plan(modules, state.structure)
        check_agreement(Decision(prune=plan), state.step)
        return self.one_shot.apply(plan, modules, state.structure)

"""Decides, once per step, whether the model changes; and carries the decision out."""

from collections.abc import Callable
from typing import Protocol

from apt_core.distiller.self_distiller import SelfDistiller
from apt_core.errors import TrainingError
from apt_core.models.arch import ModelMap
from apt_core.models.structure import Structure
from apt_core.models.surgery_record import Surgery, combine, nothing_done
from apt_core.models.trained_modules import STUDENT, TrainedModules
from apt_core.pruner.masks import BlockMasks, apply_masks
from apt_core.pruner.policy import AdaptivePruner, PrunePlan
from apt_core.pruner.schedule import SparsityScheduler
from apt_core.pruner.surgery import prune_model
from apt_core.salience.collector import Salience
from apt_core.trainer.decision import Decision, check_agreement
from apt_core.trainer.selection import is_better
from apt_core.trainer.state import TrainerState
from apt_core.tuner.grow import Distribution, grow_adapters
from apt_core.tuner.policy import AdaptiveTuner

ReadSalience = Callable[[], Salience | None]


class Controller(Protocol):
    """What the loop asks after every step."""

    def needs_salience(self, step: int) -> bool:
        """Whether the step after `step` must be recorded."""
        ...

    def needs_held_out(self, state: TrainerState) -> bool:
        """Whether this step's decision rests on the student's score on the held-out rows."""
        ...

    def decide(
        self, state: TrainerState, read_salience: ReadSalience, held_out: float | None = None
    ) -> Decision:
        """What to do now; pure."""
        ...

    def apply(self, decision: Decision, modules: TrainedModules, state: TrainerState) -> Surgery:
        """Carry out the changes of shape on plain modules."""
        ...

    def move_masks(self, decision: Decision, modules: TrainedModules, structure: Structure) -> None:
        """Carry out the change of masks."""
        ...

    def restore_masks(self, masks: BlockMasks, modules: TrainedModules) -> None:
        """Continue an open window with these masks."""
        ...

    masks: BlockMasks | None


class QuietController:
    """What controllers have in common that read no salience and move no masks."""

    masks: BlockMasks | None = None

    def needs_salience(self, step: int) -> bool:
        """Never."""
        return False

    def needs_held_out(self, state: TrainerState) -> bool:
        """Never."""
        return False

    def move_masks(self, decision: Decision, modules: TrainedModules, structure: Structure) -> None:
        """Nothing to move."""

    def restore_masks(self, masks: BlockMasks, modules: TrainedModules) -> None:
        """There never are any."""


class FixedController(QuietController):
    """The controller of arms whose model never changes shape."""

    def decide(
        self, state: TrainerState, read_salience: ReadSalience, held_out: float | None = None
    ) -> Decision:
        """Nothing to do."""
        return Decision()

    def apply(self, decision: Decision, modules: TrainedModules, state: TrainerState) -> Surgery:
        """Nothing to carry out."""
        return nothing_done(state.structure)


class APTController:
    """APT's order of events: snapshot the teacher, decay masks, cut, grow, drop the teacher.

    Any of the three parts may be None: that is what the ablations are.

    Args:
        model_map: where the student's parts are.
        scheduler: when events happen; its densities are all 1 without pruning.
        pruner: A_P, adaptive pruning.
        tuner: A_T, adaptive rank growth.
        distiller: D_S, self-distillation.
        teacher_step: step at which the teacher is taken: when the first window opens, so that it is
            tuned, dense and unmasked.
        distill_stop: step at which the teacher is dropped.
        refresh_teacher: whether the student, when a later window opens, takes the teacher's place
            if it scores better on the held-out rows than the teacher did.
        init_std: standard deviation of new adapter rows; None: 1 / sqrt(3 * in_features).
        init_distribution: their distribution.
        seed: the run's seed.
    """

    def __init__(
        self,
        model_map: ModelMap,
        scheduler: SparsityScheduler,
        *,
        pruner: AdaptivePruner | None,
        tuner: AdaptiveTuner | None,
        distiller: SelfDistiller | None,
        teacher_step: int,
        distill_stop: int,
        refresh_teacher: bool = False,
        init_std: float | None,
        init_distribution: Distribution = "gaussian",
        seed: int,
    ) -> None:
        self.model_map = model_map
        self.scheduler = scheduler
        self.pruner = pruner
        self.tuner = tuner
        self.distiller = distiller
        self.teacher_step = teacher_step
        self.distill_stop = distill_stop
        self.refresh_teacher = refresh_teacher
        self.init_std = init_std
        self.init_distribution = init_distribution
        self.seed = seed
        self.masks: BlockMasks | None = None

    def needs_salience(self, step: int) -> bool:
        """From the start of the pruning phase to its last event."""
        return self._reads_salience and (
            self.scheduler.start <= step < self.scheduler.event_steps[-1]
        )

    @property
    def _reads_salience(self) -> bool:
        return self.pruner is not None or self.tuner is not None

    def needs_held_out(self, state: TrainerState) -> bool:
        """Where a teacher may be taken, if teachers are compared."""
        return self.refresh_teacher and self._may_take_teacher(state)

    def decide(
        self, state: TrainerState, read_salience: ReadSalience, held_out: float | None = None
    ) -> Decision:
        """What to do after ``state.step`` steps.

        Args:
            state: the run's state; read only.
            read_salience: gives the running salience; called only when it is needed.
            held_out: the student's score on the held-out rows, at steps that need it.

        Returns:
            The decision.

        Raises:
            DecisionMismatchError: the workers decided differently.
            TrainingError: an event is due, but no step since the start has given any salience.
        """
        step = state.step
        is_event = self._reads_salience and self.scheduler.is_event(step)
        in_window = self.pruner is not None and self.scheduler.in_window(step)
        salience = read_salience() if in_window or is_event else None
        if is_event and salience is None:
            raise TrainingError(
                f"step {step}: time to decide, but every step since {self.scheduler.start} "
                "overflowed and no salience was recorded; set hardware.precision to bf16 or fp32"
            )
        prune = mask = tune = None
        if in_window and self.pruner is not None and salience is not None:
            plan = self.pruner.plan(step, state.structure, salience.blocks)
            if is_event:
                prune = self.pruner.explained(plan, state.structure, salience.blocks)
            else:
                mask = plan
        if self.tuner is not None and is_event and salience is not None:
            structure = state.structure if prune is None else prune.structure
            event_index = self.scheduler.event_steps.index(step) + 1
            tune = self.tuner.plan(event_index, structure, salience.adapters)
        decision = Decision(
            mask=mask,
            prune=prune,
            tune=tune,
            take_teacher=self._takes_teacher(state, held_out),
            drop_teacher=state.has_teacher and step == self.distill_stop,
        )
        if decision != Decision():
            check_agreement(decision, step)
        return decision

    def _may_take_teacher(self, state: TrainerState) -> bool:
        if self.distiller is None:
            return False
        if not state.has_teacher:
            return state.step == self.teacher_step
        opens = self.scheduler.window_opens(state.step)
        return self.refresh_teacher and opens and state.step < self.distill_stop

    def _takes_teacher(self, state: TrainerState, held_out: float | None) -> bool:
        if not self._may_take_teacher(state):
            return False
        if not state.has_teacher:
            return True
        return held_out is not None and is_better(held_out, state.teacher_metric)

    def apply(self, decision: Decision, modules: TrainedModules, state: TrainerState) -> Surgery:
        """Carry out the changes of shape.

        Args:
            decision: what to do.
            modules: plain modules with full parameters, changed in place.
            state: the run's state; read only.

        Returns:
            One record of all that was done.
        """
        surgery = nothing_done(state.structure)
        if decision.drop_teacher and self.distiller is not None:
            surgery = combine(surgery, self.distiller.drop_teacher(modules))
        if decision.take_teacher and self.distiller is not None:
            surgery = combine(surgery, self.distiller.take_teacher(modules))
        if decision.prune is not None:
            apply_masks(modules.student, self.model_map, None)
            self.masks = None
            surgery = combine(surgery, self._prune(decision.prune, modules, state.structure))
        if decision.tune is not None:
            surgery = combine(
                surgery,
                grow_adapters(
                    modules.student,
                    surgery.structure_after,
                    decision.tune.ranks,
                    init_std=self.init_std,
                    distribution=self.init_distribution,
                    seed=self.seed * 1_000_003 + state.step,
                    prefix=STUDENT,
                ),
            )
        return surgery

    def _prune(self, plan: PrunePlan, modules: TrainedModules, structure: Structure) -> Surgery:
        surgery = prune_model(modules.student, self.model_map, structure, plan.kept, prefix=STUDENT)
        if modules.projection is None:
            return surgery
        return combine(surgery, modules.projection.slice(surgery))

    def move_masks(self, decision: Decision, modules: TrainedModules, structure: Structure) -> None:
        """Move the masks of an open window one step.

        Args:
            decision: its `mask` plan says where to.
            modules: the trained modules; only mask buffers change.
            structure: the student's present structure.
        """
        if decision.mask is None or self.pruner is None:
            return
        if self.masks is None:
            self.masks = BlockMasks(structure)
        self.masks.step_toward(decision.mask.kept, self.pruner.mask_step)
        apply_masks(modules.student, self.model_map, self.masks)

    def restore_masks(self, masks: BlockMasks, modules: TrainedModules) -> None:
        """Continue an open window with these masks."""
        self.masks = masks
        apply_masks(modules.student, self.model_map, masks)

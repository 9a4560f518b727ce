"""The one training loop. Every arm runs through it; arms differ in their collaborators only."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from apt_core.distiller.self_distiller import Loss
from apt_core.errors import TrainingError, TrainingStoppedError
from apt_core.evaluator.memory import current_memory_gib
from apt_core.models.surgery_record import Surgery
from apt_core.models.trained_modules import TrainedModules
from apt_core.report import EvalPoint, RunReport
from apt_core.salience.collector import Salience, SalienceCollector
from apt_core.trainer.callbacks import Callback
from apt_core.trainer.collaborators import Checkpoints, Distiller, Evaluation
from apt_core.trainer.controller import Controller
from apt_core.trainer.decision import Decision, check_agreement
from apt_core.trainer.distributed import any_worker
from apt_core.trainer.engine import Engine, EngineFactory, StepOutcome
from apt_core.trainer.measure import shape_metrics, step_metrics, surgery_entry
from apt_core.trainer.one_shot_controller import OneShot
from apt_core.trainer.phase_meter import PhaseMeter
from apt_core.trainer.state import TrainerState

MAX_OVERFLOWS_IN_A_ROW = 50


@dataclass(frozen=True)
class Cadence:
    """How often things happen, in steps."""

    eval_every: int
    save_every: int
    log_every: int


class APTrainer:
    """Train one model with APT: distil, measure salience, decide, operate, repeat (Algorithm 1).

    Args:
        modules: student (and, after a restore, teacher).
        state: where the run is.
        batches: from a step, an endless iterator over batches, each a list of micro-batches.
        make_engine: wraps modules; called again after every surgery.
        salience: None in arms that never decide.
        controller: decides and operates.
        distiller: gives the loss.
        evaluator: scores.
        checkpointer: commits and restores.
        callbacks: watch.
        learning_rate: step -> learning rate; a pure function, so no rebuild can detach it.
        phases: keeps step times and peak memory by phase.
        cadence: how often to evaluate, save and log.
        reset_optimizer: drop the moments at every surgery instead of carrying them.
        one_shot: prunes once before the first step; None: nobody does.
        should_stop: looked at between steps; True on any worker ends the run with a checkpoint.
    """

    def __init__(
        self,
        *,
        modules: TrainedModules,
        state: TrainerState,
        batches: Callable[[int], Iterator[Sequence[Mapping[str, Tensor]]]],
        make_engine: EngineFactory,
        salience: SalienceCollector | None,
        controller: Controller,
        distiller: Distiller,
        evaluator: Evaluation["APTrainer"],
        checkpointer: Checkpoints["APTrainer"],
        callbacks: Callback,
        learning_rate: Callable[[int], float],
        phases: PhaseMeter,
        cadence: Cadence,
        reset_optimizer: bool,
        one_shot: OneShot | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> None:
        self.state = state
        self.batches = batches
        self.make_engine = make_engine
        self.salience = salience
        self.controller = controller
        self.distiller = distiller
        self.evaluator = evaluator
        self.checkpointer = checkpointer
        self.callbacks = callbacks
        self.learning_rate = learning_rate
        self.phases = phases
        self.cadence = cadence
        self.reset_optimizer = reset_optimizer
        self.one_shot = one_shot
        self.should_stop = should_stop
        self.modules = modules
        self.engine: Engine | None = None
        self._overflows = 0

    def train(self) -> RunReport:
        """Run from the last checkpoint to the last step and return what the run measured."""
        self.checkpointer.restore_latest(self)
        if self.engine is None:
            self.evaluator.begin(self.modules)
            self._prune_before_training()
            self._count_trainable()
            self.engine = self.make_engine(self.modules, None)
        self.callbacks.on_train_start(self.state)
        try:
            self._run(self.engine)
        except BaseException as error:
            self.checkpointer.wait()
            self.callbacks.on_error(self.state, error)
            raise
        report = self.evaluator.report(self)
        self.callbacks.on_train_end(self.state, report)
        return report

    def _run(self, engine: Engine) -> None:
        batches = self.batches(self.state.step)
        while self.state.step < self.state.total_steps:
            self._leave_if_asked()
            engine = self.advance(engine, batches)
        self.checkpointer.settle(self)

    def advance(self, engine: Engine, batches: Iterator[Sequence[Mapping[str, Tensor]]]) -> Engine:
        """One step and all that follows it; returns the live engine."""
        state = self.state
        self.phases.enter()
        started = time.perf_counter()
        metrics = self.train_step(engine, next(batches))
        state.step += 1
        evaluated = state.eval_time_s
        held_out = self._held_out(engine)
        decision = self.controller.decide(state, self._read_salience, held_out)
        if decision.changes_shape:
            engine = self.operate(engine, decision)
        if decision.take_teacher:
            state.teacher_metric = held_out
        self.controller.move_masks(decision, self.modules, state.structure)
        evaluated = state.eval_time_s - evaluated
        metrics["time/step_s"] = time.perf_counter() - started - evaluated
        self.phases.count_time(metrics["time/step_s"], is_surgery=decision.changes_shape)
        if decision.changes_shape:
            metrics["surgery/seconds"] = state.surgeries[-1]["seconds"]

        if self._is_due(self.cadence.eval_every):
            metrics |= self._evaluate(engine)
        elif not self._is_due(self.cadence.log_every) and not decision.changes_shape:
            metrics = {}
        self.callbacks.on_step_end(state, self._with_state(metrics) if metrics else {})
        if self._is_due(self.cadence.save_every):
            self.checkpointer.save(self)
        return engine

    def _leave_if_asked(self) -> None:
        """Commit the step that was just done and leave; all workers do so together."""
        if self.should_stop is None or not any_worker(self.should_stop()):
            return
        if not self._is_due(self.cadence.save_every):
            self.checkpointer.save(self)
        self.checkpointer.settle(self)
        raise TrainingStoppedError(
            f"stopped at step {self.state.step} of {self.state.total_steps}, which is saved; "
            "the same command continues there"
        )

    def train_step(self, engine: Engine, batch: Sequence[Mapping[str, Tensor]]) -> dict[str, float]:
        """One optimizer step. Salience reads this step's gradients, so it precedes the update.

        Args:
            engine: the live engine.
            batch: micro-batches of this worker.

        Returns:
            Metrics of the step.
        """
        self.modules.train()
        recorder = self.salience if self.controller.needs_salience(self.state.step) else None
        losses = [self._micro_step(engine, micro_batch, recorder) for micro_batch in batch]
        measured = None
        if recorder is not None:
            measured = recorder.measure(engine.full_parameters, engine.gradient_scale)
        learning_rate = self.learning_rate(self.state.step)
        outcome = engine.step(learning_rate)
        if recorder is not None and measured is not None and not outcome.overflowed:
            recorder.commit(measured)
        self._watch_overflow(outcome)
        return step_metrics(losses, outcome, learning_rate)

    def _micro_step(
        self, engine: Engine, batch: Mapping[str, Tensor], recorder: SalienceCollector | None
    ) -> Loss:
        if recorder is None:
            loss: Loss = engine(self.distiller.loss, batch, self.state.step)
            engine.backward(loss.total)
            return loss
        with recorder.recording(batch):
            loss = engine(self.distiller.loss, batch, self.state.step)
            engine.backward(loss.total)
        return loss

    def operate(self, engine: Engine, decision: Decision) -> Engine:
        """Change the model's shape, then rebuild everything that held on to the old one.

        Args:
            engine: the engine of the old shape; it is destroyed.
            decision: what to do.

        Returns:
            The engine of the new shape.
        """
        started = time.perf_counter()
        snapshot = engine.harvest()
        engine.release()
        surgery = self.controller.apply(decision, self.modules, self.state)
        self._follow(surgery)
        self._count_trainable()
        self.engine = self.make_engine(
            self.modules, snapshot.after(surgery, reset=self.reset_optimizer)
        )
        seconds = time.perf_counter() - started
        self.state.surgeries.append(surgery_entry(self.state, surgery, seconds, decision.prune))
        self.callbacks.on_surgery(self.state, surgery)
        return self.engine

    def _follow(self, surgery: Surgery) -> None:
        if self.salience is not None:
            self.salience.remap(surgery)
        self.distiller.remap(surgery)
        if surgery.teacher_changed:
            has_teacher = self.modules.teacher is not None
            self.state.teacher_structure = surgery.structure_before if has_teacher else None
        self.state.structure = surgery.structure_after

    def _prune_before_training(self) -> None:
        if self.one_shot is None:
            return
        started = time.perf_counter()
        plan = self.one_shot.plan(self.modules, self.state.structure)
        check_agreement(Decision(prune=plan), self.state.step)
        surgery = self.one_shot.apply(plan, self.modules, self.state.structure)
        self._follow(surgery)
        seconds = time.perf_counter() - started
        self.state.train_time_s += seconds
        self.state.surgeries.append(surgery_entry(self.state, surgery, seconds))
        self.callbacks.on_surgery(self.state, surgery)

    def _held_out(self, engine: Engine) -> float | None:
        """How good the student is, where it may become the teacher."""
        if not self.controller.needs_held_out(self.state):
            return None
        started = time.perf_counter()
        metric = self.evaluator.held_out(engine)
        self.state.eval_time_s += time.perf_counter() - started
        return metric

    def _evaluate(self, engine: Engine) -> dict[str, float]:
        started = time.perf_counter()
        metrics = self.evaluator.evaluate(engine, self.state)
        self.state.eval_time_s += time.perf_counter() - started
        self.state.history.append(
            EvalPoint(
                step=self.state.step,
                train_time_s=self.state.train_time_s,
                eval_time_s=self.state.eval_time_s,
                metric=metrics["eval/metric"],
                sparsity=self.state.sparsity,
            )
        )
        return metrics

    def _read_salience(self) -> Salience | None:
        return None if self.salience is None else self.salience.snapshot()

    def _count_trainable(self) -> None:
        """Counted on plain modules: an engine may partition parameters."""
        count = sum(p.numel() for p in self.modules.parameters() if p.requires_grad)
        self.state.num_trainable_params_peak = max(self.state.num_trainable_params_peak, count)

    def _is_due(self, every: int) -> bool:
        return self.state.step % every == 0 or self.state.step == self.state.total_steps

    def _with_state(self, metrics: dict[str, float]) -> dict[str, float]:
        return {
            **metrics,
            **shape_metrics(self.state),
            "memory/current_gib": current_memory_gib(),
            "memory/peak_gib": self.phases.note_memory(),
            "time/train_s": self.state.train_time_s,
            "time/eval_s": self.state.eval_time_s,
        }

    def _watch_overflow(self, outcome: StepOutcome) -> None:
        self._overflows = self._overflows + 1 if outcome.overflowed else 0
        if self._overflows > MAX_OVERFLOWS_IN_A_ROW:
            raise TrainingError(
                f"step {self.state.step}: {self._overflows} steps in a row had gradients with inf "
                "or nan; lower training.learning_rate or set hardware.precision to bf16"
            )

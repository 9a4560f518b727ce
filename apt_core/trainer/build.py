"""The builder: the only place where configuration turns into objects; and the library's entry."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from apt_core.config import ExperimentConfig
from apt_core.config.plan import TrainingPlan, plan_training
from apt_core.distiller.self_distiller import SelfDistiller, TaskDistiller
from apt_core.errors import ConfigError
from apt_core.evaluator.memory import reset_peak_memory
from apt_core.models.loading import LoadedModel
from apt_core.models.structure import Structure
from apt_core.report import RunReport
from apt_core.trace import span
from apt_core.trainer import build_method as method
from apt_core.trainer import build_parts as parts
from apt_core.trainer import distributed
from apt_core.trainer.build_cost import LATENCY_TABLE, build_cost
from apt_core.trainer.build_l0 import gate_rates
from apt_core.trainer.build_reporter import build_reporter, run_facts
from apt_core.trainer.build_teacher import first_modules, teacher_loader
from apt_core.trainer.calibration import Calibration
from apt_core.trainer.callbacks import Callback, Callbacks
from apt_core.trainer.checkpoint import Checkpointer, Reshape
from apt_core.trainer.collaborators import Checkpoints, Evaluation
from apt_core.trainer.loop import APTrainer, Cadence
from apt_core.trainer.metric_log import MetricLog
from apt_core.trainer.optim import detached_learning_rate_at, learning_rate_at
from apt_core.trainer.phase_meter import PhaseMeter
from apt_core.trainer.rng import seed_everything, seed_worker
from apt_core.trainer.selection import BestWeights
from apt_core.trainer.state import TrainerState
from apt_core.trainer.trace_callback import TraceCallback

BEST_WEIGHTS = "best.safetensors"


def run_training(
    config: ExperimentConfig,
    *,
    run_dir: Path,
    run_id: str,
    command: str = "",
    callbacks: Sequence[Callback] = (),
    should_stop: Callable[[], bool] | None = None,
) -> RunReport:
    """Run one training in this process, from its newest checkpoint if it has one.

    With several workers the process group must exist already; every worker calls this.

    Args:
        config: what to train.
        run_dir: gets ``metrics.jsonl``, ``checkpoints/``, ``export/`` and ``result.json``; and
            ``best.safetensors`` where the best weights are kept.
        run_id: identity of the run; checkpoints of other runs are refused.
        command: the command that reruns it, for the report.
        callbacks: further observers.
        should_stop: looked at between steps; once it is true on any worker, the run commits a
            checkpoint and ends with `TrainingStoppedError`.

    Returns:
        The report, as in ``result.json``.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    if config.hardware.num_threads is not None:
        torch.set_num_threads(config.hardware.num_threads)
    with span("set-up"):
        trainer = build_trainer(
            config,
            run_dir=run_dir,
            run_id=run_id,
            command=command,
            callbacks=callbacks,
            should_stop=should_stop,
        )
    reset_peak_memory()
    return trainer.train()


def build_trainer(
    config: ExperimentConfig,
    *,
    run_dir: Path,
    run_id: str,
    command: str = "",
    callbacks: Sequence[Callback] = (),
    should_stop: Callable[[], bool] | None = None,
) -> APTrainer:
    """A trainer with all its collaborators, ready to train; arguments as for `run_training`."""
    _check_world_size(config)
    device = parts.pick_device(config)
    with span("model"):
        tokenizer = parts.load_task_tokenizer(config)
        loaded, structure = _build_model(config)
    with span("data"):
        loader = parts.build_loader(config, tokenizer, loaded)
    plan = plan_training(config, loader.num_train_rows)
    cost = build_cost(config, loaded, device=device, run_dir=run_dir, run_id=run_id)
    teacher = teacher_loader(config, loaded, tokenizer)
    distiller = method.build_distiller(config, plan, loaded, structure, teacher)
    batches = partial(parts.calibration_batches_on, loader, device, config)
    calibration = Calibration(batches, device, config.hardware.precision != "fp32", cost)
    best = method.build_best_weights(config, plan, run_dir / BEST_WEIGHTS)
    facts = run_facts(config, run_id, command)
    measured = partial(build_reporter, device=device, run_dir=run_dir, best=best, cost=cost)
    reshape = method.reshaper(config, loaded, structure, distiller)
    around = Surroundings(
        batches=partial(parts.batches_on, loader, device),
        evaluator=measured(config, loaded, tokenizer, loader, facts=facts),
        checkpointer=_checkpointer(config, run_dir, run_id, reshape, best=best),
        callbacks=_observers(run_dir, callbacks),
        should_stop=should_stop,
    )
    return assemble_trainer(
        config, plan, loaded, structure, distiller, calibration=calibration, around=around
    )


@dataclass(frozen=True)
class Surroundings:
    """Whoever feeds, scores, saves and watches a training, see `APTrainer`."""

    batches: Callable[[int], Iterator[Sequence[Mapping[str, Tensor]]]]
    evaluator: Evaluation[APTrainer]
    checkpointer: Checkpoints[APTrainer]
    callbacks: Callback
    should_stop: Callable[[], bool] | None = None


def assemble_trainer(
    config: ExperimentConfig,
    plan: TrainingPlan,
    loaded: LoadedModel,
    structure: Structure,
    distiller: SelfDistiller | TaskDistiller,
    *,
    calibration: Calibration,
    around: Surroundings,
) -> APTrainer:
    """The trainer of an adapted model.

    Args:
        config: what to train.
        plan: its timetable.
        loaded: the model, adapted.
        structure: its structure, with ranks.
        distiller: who teaches it, if anybody does.
        calibration: what blocks are measured with, where that is not done while training.
        around: whoever the training has to do with.

    Returns:
        The trainer, not started.
    """
    state = TrainerState(plan.total_steps, structure, loaded.structure)
    device = calibration.device
    return APTrainer(
        modules=first_modules(distiller, loaded, state),
        state=state,
        batches=around.batches,
        make_engine=parts.engine_factory(config, loaded, device, gate_rates(config, plan)),
        salience=method.build_salience(config, loaded, structure),
        controller=method.build_controller(
            config, plan, loaded, structure, distiller, calibration=calibration
        ),
        distiller=method.build_loss(config, plan, loaded, distiller),
        evaluator=around.evaluator,
        checkpointer=around.checkpointer,
        callbacks=around.callbacks,
        learning_rate=_learning_rate(config, plan),
        phases=PhaseMeter(state, partial(parts.phase_of, plan)),
        cadence=Cadence(plan.eval_every, plan.save_every, plan.log_every),
        reset_optimizer=config.training.optimizer_on_surgery == "reset",
        one_shot=method.build_one_shot(config, loaded, structure, calibration),
        should_stop=around.should_stop,
    )


def _checkpointer(
    config: ExperimentConfig,
    run_dir: Path,
    run_id: str,
    reshape: Reshape,
    *,
    best: BestWeights | None,
) -> Checkpointer:
    return Checkpointer(
        run_dir / "checkpoints",
        run_id=run_id,
        reshape=reshape,
        keep=config.training.keep_checkpoints,
        attached=None if best is None else best.path,
        constants=(run_dir / LATENCY_TABLE,),
    )


def _check_world_size(config: ExperimentConfig) -> None:
    """A worker's share of a batch is configured: with more or fewer, gradients would be scaled."""
    present, configured = distributed.world_size(), config.hardware.num_workers
    if present != configured:
        raise ConfigError(
            f"hardware.num_workers: is {configured}, but {present} worker(s) train together; "
            f"start {configured}, or set hardware.num_workers={present}"
        )


def _build_model(config: ExperimentConfig) -> tuple[LoadedModel, Structure]:
    """The adapted model and its structure, the same on all workers."""
    seed_everything(config.training.seed)
    loaded = parts.load_task_model(config)
    structure = parts.adapt(config, loaded)
    seed_worker(config.training.seed, distributed.rank())  # from here on each its own dropout
    return loaded, structure


def _observers(run_dir: Path, callbacks: Sequence[Callback]) -> Callbacks:
    own: list[Callback] = [TraceCallback()]
    if distributed.rank() == 0:
        own.append(MetricLog(run_dir / "metrics.jsonl"))
    return Callbacks([*own, *callbacks])


def _learning_rate(config: ExperimentConfig, plan: TrainingPlan) -> Callable[[int], float]:
    training, events = config.training, plan.prune.event_steps
    attached = partial(
        learning_rate_at,
        peak=training.learning_rate,
        warmup_steps=plan.warmup_steps,
        total_steps=plan.total_steps,
        schedule=training.lr_schedule,
    )
    if training.lr_after_event == "schedule" or not events:
        return attached
    return partial(
        detached_learning_rate_at,
        attached=attached,
        peak=training.learning_rate,
        first_event=events[0],
        restart=plan.distill_stop or plan.total_steps,
        total_steps=plan.total_steps,
    )

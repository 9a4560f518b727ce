"""The parts that make an arm what it is, from configuration."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from apt_core.config import ExperimentConfig
from apt_core.config.arms import BlockScore
from apt_core.config.plan import NO_EVENTS, TrainingPlan
from apt_core.distiller.external_teacher import ExternalDistiller
from apt_core.distiller.late import LateDistiller
from apt_core.distiller.self_distiller import DistillSettings, SelfDistiller, TaskDistiller
from apt_core.errors import ConfigError
from apt_core.models.loading import LoadedModel
from apt_core.models.reshape import reshape_model
from apt_core.models.structure import Structure
from apt_core.models.trained_modules import STUDENT, TrainedModules
from apt_core.pruner.cost import CostModel
from apt_core.pruner.policy import AdaptivePruner
from apt_core.pruner.schedule import SparsityScheduler
from apt_core.salience.collector import CollectorSettings, SalienceCollector
from apt_core.salience.controls import MagnitudeCollector, RandomCollector
from apt_core.trainer import build_l0
from apt_core.trainer.build_baselines import build_mask_tuner
from apt_core.trainer.build_parts import build_floors
from apt_core.trainer.build_taylor import build_taylor_pruner
from apt_core.trainer.build_teacher import LoadTeacher
from apt_core.trainer.calibration import Calibration, OneShotPruner
from apt_core.trainer.checkpoint import Reshape
from apt_core.trainer.collaborators import Distiller
from apt_core.trainer.controller import APTController, Controller, FixedController
from apt_core.trainer.one_shot_controller import OneShot, OneShotController
from apt_core.trainer.selection import BestWeights
from apt_core.tuner.policy import AdaptiveTuner


def build_distiller(
    config: ExperimentConfig,
    plan: TrainingPlan,
    loaded: LoadedModel,
    structure: Structure,
    load_teacher: LoadTeacher | None = None,
) -> SelfDistiller | TaskDistiller:
    """Distillation from the model's own past or from another run, or the task loss alone."""
    if not config.switches.distill:
        return TaskDistiller(loaded.model_map.head_kind)
    distillation = config.distillation
    settings = DistillSettings(
        teacher_layer_mapping=distillation.teacher_layer_mapping,
        num_teacher_layers=distillation.num_teacher_layers,
        weight_start=distillation.distill_loss_weight_start,
        weight_end=distillation.distill_loss_weight_end,
        first_step=plan.prune.start if load_teacher is None else 0,
        last_step=plan.prune.stop,
        temperature=distillation.temperature,
        prediction_weight=distillation.prediction_weight,
        layer_weight=distillation.layer_weight if config.switches.layer_loss else 0.0,
        projection_rank=distillation.projection_rank,
        scaling=config.training.scaling_factor,
        mask_padding=distillation.mask_padding,
        seed=config.training.seed,
    )
    if load_teacher is not None:
        return ExternalDistiller(loaded.model_map, structure, settings, load_teacher)
    if distillation.start_event > 0:
        heard = _start_event(config, plan)
        return LateDistiller(loaded.model_map, structure, settings, first_heard=heard)
    return SelfDistiller(loaded.model_map, structure, settings)


def build_loss(
    config: ExperimentConfig,
    plan: TrainingPlan,
    loaded: LoadedModel,
    distiller: SelfDistiller | TaskDistiller,
) -> Distiller:
    """What gives the loss: the distiller, and around it what else the arm asks of the student."""
    if build_l0.has_gates(config) and isinstance(distiller, SelfDistiller):
        return build_l0.build_gate_distiller(config, plan, loaded, distiller)
    return distiller


def build_salience(
    config: ExperimentConfig, loaded: LoadedModel, structure: Structure
) -> SalienceCollector | None:
    """The collector, in arms that decide anything."""
    switches = config.switches
    if not switches.measures_salience:
        return None
    settings = CollectorSettings(
        momentum=config.training.momentum_salience,
        kurtosis_weight=kurtosis_weight(config, loaded),
        importance=config.tuning.importance,
        measure_blocks=switches.prune and switches.block_score == "salience",
        measure_adapters=switches.grow_ranks,
    )
    return _collector(config, loaded, structure, settings)


def _collector(
    config: ExperimentConfig,
    loaded: LoadedModel,
    structure: Structure,
    settings: CollectorSettings,
) -> SalienceCollector:
    """The collector that ranks blocks by what the arm ranks them by."""
    collectors: dict[BlockScore, Callable[..., SalienceCollector]] = {
        "salience": SalienceCollector,
        "random": partial(RandomCollector, seed=config.training.seed),
        "magnitude": MagnitudeCollector,
    }
    make = collectors[config.switches.block_score]
    return make(loaded.model, loaded.model_map, structure, prefix=STUDENT, settings=settings)


def kurtosis_weight(config: ExperimentConfig, loaded: LoadedModel) -> float:
    """Weight of the outlier term of the salience.

    Args:
        config: the training.
        loaded: the model, whose family has a default.

    Returns:
        The weight; 0 where the term is off.
    """
    switches = config.switches
    if not switches.outlier_term or switches.block_score != "salience":
        return 0.0
    wanted = config.pruning.use_kurtosis
    is_on = loaded.model_map.spec.uses_kurtosis if wanted is None else wanted
    return config.pruning.kurtosis_weight if is_on else 0.0


def build_controller(
    config: ExperimentConfig,
    plan: TrainingPlan,
    loaded: LoadedModel,
    structure: Structure,
    distiller: SelfDistiller | TaskDistiller,
    *,
    calibration: Calibration,
) -> Controller:
    """Who decides, with the parts that the arm switches on."""
    if not plan.prune.event_steps:
        return FixedController()
    if config.switches.pruning_method == "one_shot":
        tuner = build_mask_tuner(config, loaded, calibration)
        return OneShotController(tuner, plan.prune.stop)
    if build_l0.has_gates(config) and isinstance(distiller, SelfDistiller):
        return build_l0.build_gate_controller(config, plan, loaded, distiller)
    scheduler = plan.prune.scheduler()
    pruner = _build_pruner(config, scheduler, loaded, calibration.cost)
    return APTController(
        loaded.model_map,
        scheduler,
        pruner=pruner if config.switches.prune else None,
        tuner=_build_tuner(config, plan, structure) if config.switches.grow_ranks else None,
        distiller=distiller if isinstance(distiller, SelfDistiller) else None,
        teacher_step=_teacher_step(config, plan),
        distill_stop=plan.distill_stop,
        refresh_teacher=config.distillation.refresh_teacher and config.switches.teacher == "self",
        init_std=config.tuning.init_std,
        init_distribution=config.tuning.init_distribution,
        seed=config.training.seed,
    )


def build_one_shot(
    config: ExperimentConfig,
    loaded: LoadedModel,
    structure: Structure,
    calibration: Calibration,
) -> OneShot | None:
    """Pruning before the first step, if it is asked for."""
    if config.switches.pruning_method == "before_training":
        return build_taylor_pruner(config, loaded, calibration)
    measures = config.switches.prune and config.switches.measures_salience
    if not measures or config.pruning.pre_tuning_sparsity == 0:
        return None
    settings = CollectorSettings(
        kurtosis_weight=kurtosis_weight(config, loaded),
        measure_blocks=config.switches.block_score == "salience",
        measure_adapters=False,
    )
    collector = _collector(config, loaded, structure, settings)
    return OneShotPruner(
        _build_pruner(config, NO_EVENTS.scheduler(), loaded, calibration.cost),
        collector,
        calibration=calibration,
        density=1.0 - config.pruning.pre_tuning_sparsity,
    )


def build_best_weights(
    config: ExperimentConfig, plan: TrainingPlan, path: Path
) -> BestWeights | None:
    """Keeps the best weights from the last event on, if they and not the last ones are wanted."""
    if not config.training.choose_best:
        return None
    return BestWeights(path, first_step=max(plan.prune.event_steps, default=0))


def _build_pruner(
    config: ExperimentConfig, scheduler: SparsityScheduler, loaded: LoadedModel, cost: CostModel
) -> AdaptivePruner:
    return AdaptivePruner(
        scheduler,
        loaded.structure,
        loaded.model_map,
        floors=build_floors(config),
        mask_step=config.pruning.mask_step,
        cost=cost,
    )


def _build_tuner(
    config: ExperimentConfig, plan: TrainingPlan, structure: Structure
) -> AdaptiveTuner:
    tuning = config.tuning
    return AdaptiveTuner(
        initial_params=structure.num_adapter_params(),
        num_events=len(plan.prune.event_steps),
        max_tuning_params_ratio=tuning.max_tuning_params_ratio,
        max_rank=tuning.rank_cap(config.training.initial_rank),
        strategy=tuning.rank_increase_strategy if config.switches.choose_adapters else "uniform",
        growth=tuning.growth,
    )


def _teacher_step(config: ExperimentConfig, plan: TrainingPlan) -> int:
    """The step at which the first window opens; without pruning, where it would open."""
    if config.switches.teacher != "self":
        return 0  # before the first step, see `build_teacher`
    return max(1, _start_event(config, plan) - plan.prune.window + 1)


def _start_event(config: ExperimentConfig, plan: TrainingPlan) -> int:
    """Step of the event whose window decides when distillation begins."""
    prune, number = plan.prune, max(config.distillation.start_event, 1)
    scheduler = prune.scheduler()
    pruning_events = [s for i, s in enumerate(prune.event_steps) if scheduler.prunes_at(i)]
    events = pruning_events or prune.event_steps
    if config.switches.distill and number > len(events):
        raise ConfigError(
            f"distillation.start_event: there are only {len(events)} events, given {number}; "
            "lower it, or set more of them (pruning.num_events)"
        )
    return events[min(number, len(events)) - 1]


def reshaper(
    config: ExperimentConfig,
    loaded: LoadedModel,
    fresh: Structure,
    distiller: SelfDistiller | TaskDistiller,
) -> Reshape:
    """How a checkpoint's structures come back: teacher's shape, snapshot, student's shape."""

    def reshape(modules: TrainedModules, student: Structure, teacher: Structure | None) -> None:
        if not config.switches.has_events:
            return
        present = fresh
        modules.teacher = modules.projection = None  # the checkpoint may be of a time without
        if teacher is not None and isinstance(distiller, SelfDistiller):
            reshape_model(modules.student, loaded.model_map, present, teacher)
            present = teacher
            distiller.restore(teacher)
            distiller.take_teacher(modules)
        reshape_model(modules.student, loaded.model_map, present, student)
        if modules.projection is not None:
            modules.projection.narrow_input(student.hidden_size)
        build_l0.restore_gates(config, loaded, modules, student, teacher)

    return reshape

"""The parts of arms that learn L0 gates (CoFi), from configuration."""

from collections.abc import Mapping

from apt_core.baselines.gate_controller import GateController, GateTimes
from apt_core.baselines.gate_distiller import GateDistiller
from apt_core.baselines.gates import Gates
from apt_core.baselines.l0_gates import initial_log_alpha
from apt_core.config import ExperimentConfig
from apt_core.config.plan import TrainingPlan
from apt_core.distiller.self_distiller import SelfDistiller
from apt_core.models.loading import LoadedModel
from apt_core.models.structure import Structure
from apt_core.models.trained_modules import TrainedModules
from apt_core.trainer.build_parts import build_floors

COFI_RATE = 0.01
TRAVEL = 20.0
"""Sum of a gate's rates over its phase. A gate needs about 8 from open to closed, and meanwhile the
multipliers have to grow as well."""


def has_gates(config: ExperimentConfig) -> bool:
    """Whether blocks are pruned by gates that learn."""
    return config.switches.pruning_method == "l0_gates"


def gate_rates(config: ExperimentConfig, plan: TrainingPlan) -> Mapping[str, float]:
    """Factor on the learning rate for the gates' parameters, by their pattern.

    Deviation from CoFi, whose rate is 0.01 always: in a short phase no gate could close with it.
    """
    if not has_gates(config):
        return {}
    steps = plan.prune.stop - plan.prune.start
    rate = config.pruning.gate_learning_rate or max(COFI_RATE, TRAVEL / steps)
    return {"gates.*": rate / config.training.learning_rate}


def build_gate_distiller(
    config: ExperimentConfig, plan: TrainingPlan, loaded: LoadedModel, inner: SelfDistiller
) -> GateDistiller:
    """The loss of the masked student, with the pull toward the target."""
    return GateDistiller(
        inner,
        num_params=loaded.structure.num_params(),
        start=plan.prune.start,
        warmup=plan.prune.warmup,
        target=config.pruning.target_sparsity,
        seed=config.training.seed,
    )


def build_gate_controller(
    config: ExperimentConfig, plan: TrainingPlan, loaded: LoadedModel, inner: SelfDistiller
) -> GateController:
    """Who adds the gates, cuts by them and drops the teacher."""
    density = 1.0 - config.pruning.target_sparsity
    return GateController(
        loaded.model_map,
        GateTimes(plan.prune.start, plan.prune.stop, plan.distill_stop),
        distiller=inner,
        make_gates=lambda structure: _make_gates(config, loaded, structure),
        budget=density * loaded.structure.num_params(),
        density=density,
        floors=build_floors(config),
    )


def restore_gates(
    config: ExperimentConfig,
    loaded: LoadedModel,
    modules: TrainedModules,
    student: Structure,
    teacher: Structure | None,
) -> None:
    """Gates for a checkpoint that has them: a teacher is there, and the student is not yet cut.

    The cut always takes something: the target sparsity is above 0.
    """
    if has_gates(config) and teacher is not None and student.num_params() == teacher.num_params():
        modules.gates = _make_gates(config, loaded, student)


def _make_gates(config: ExperimentConfig, loaded: LoadedModel, structure: Structure) -> Gates:
    return Gates(loaded.model_map, structure, initial_log_alpha(config.pruning.gate_drop_rate))

"""From a configuration to the short trainings that `aptune bench` times; loads without torch."""

from collections.abc import Mapping
from typing import Any

from apt_core.bench.phases import (
    CONTROL,
    DISTILLING,
    PLAIN,
    PRUNING,
    RETRAINING,
    TAUGHT,
    TUNING,
    Phase,
    timetable,
)
from apt_core.bench.settings import BenchSettings
from apt_core.config import ExperimentConfig, config_from_json, config_to_json
from apt_core.errors import ConfigError

NEVER = "1000000 steps"
_BASE: Mapping[str, Any] = {
    "mode": "paper",
    "training.num_epochs": None,
    "training.warmup": "0 steps",
    "training.eval_every": NEVER,
    "training.save_every": NEVER,
    "training.log_every": NEVER,
    "training.choose_best": False,
    "pruning.pre_tuning_sparsity": 0.0,
    "distillation.refresh_teacher": False,
    "orchestration.grid": [],
}
_CONTROL: Mapping[str, Any] = {
    "arm": "lora",
    "ablation": "full",
    "model.adapter.mha_components": ["q_proj", "v_proj"],
}
_PARTITIONED = 3
_SETTLE_STEPS, _SETTLE_STEPS_FP16 = 2, 20
"""Steps before a phase; in fp16 the loss scale has to be found meanwhile."""


def phases_of(config: ExperimentConfig) -> tuple[Phase, ...]:
    """The phases that an arm goes through, the control first.

    Args:
        config: the arm.

    Returns:
        The phases.

    Raises:
        ConfigError: it has others.
    """
    switches = config.switches
    if not switches.has_events:
        return (CONTROL, PLAIN)
    own_teacher = not switches.distill or switches.teacher == "self"
    if not switches.prune or switches.pruning_method != "gradual" or not own_teacher:
        name = config.arm if config.ablation == "full" else f"{config.arm} {config.ablation}"
        raise ConfigError(
            f"arm: {name} does not go through the phases that are timed; choose apt (full, w/o_AT, "
            "w/o_Ds, ...), random, magnitude, lora or ft"
        )
    taught = (TAUGHT, DISTILLING) if switches.distill else ()
    return (CONTROL, TUNING, PRUNING, *taught, RETRAINING)


def bench_config(config: ExperimentConfig, settings: BenchSettings) -> ExperimentConfig:
    """The configuration at the sizes that are measured; a grid is ignored.

    Args:
        config: as the user wrote it.
        settings: the sizes.

    Returns:
        The configuration.

    Raises:
        ConfigError: it cannot be measured in one process.
    """
    if config.hardware.num_workers != 1:
        raise ConfigError(
            f"hardware.num_workers: a benchmark runs in one process, got "
            f"{config.hardware.num_workers}; set it to 1"
        )
    if config.hardware.zero_stage == _PARTITIONED and config.hardware.engine == "deepspeed":
        raise ConfigError(
            "hardware.zero_stage: 3 divides parameters between workers, and a benchmark has one; "
            "set it to 2 or less"
        )
    sizes = {
        "training.batch_size": settings.batch_size,
        "training.max_steps": 1,
        "pruning.target_sparsity": round(1.0 - settings.density, 9),
    }
    return with_settings(config, {**_BASE, **sizes})


def with_settings(config: ExperimentConfig, settings: Mapping[str, Any]) -> ExperimentConfig:
    """The configuration with other values at some field paths, checked again."""
    data = config_to_json(config)
    for path, value in settings.items():
        *sections, name = path.split(".")
        section = data
        for key in sections:
            section = section[key]
        section[name] = value
    return config_from_json(data)


def in_phase(
    config: ExperimentConfig, phase: Phase, num_steps: int
) -> tuple[ExperimentConfig, int]:
    """The configuration of a training that soon is in a phase.

    Args:
        config: of `bench_config`.
        phase: which one.
        num_steps: how long it must last.

    Returns:
        The configuration, and the steps before the phase begins.
    """
    settle = _SETTLE_STEPS_FP16 if config.hardware.precision == "fp16" else _SETTLE_STEPS
    has_teacher = config.switches.distill
    times = timetable(phase, num_steps, settle=settle, has_teacher=has_teacher)
    arm = _CONTROL if phase == CONTROL else {}
    return with_settings(config, {**times.settings, **arm}), times.lead

"""The teacher that another run has trained, from configuration."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from apt_core.config import ExperimentConfig
from apt_core.distiller.external_teacher import ExternalDistiller, load_external_teacher
from apt_core.distiller.teacher_run import FIELD, teacher_run
from apt_core.errors import ConfigError
from apt_core.models.loading import LoadedModel
from apt_core.models.trained_modules import TrainedModules
from apt_core.report import RunReport
from apt_core.trainer.state import TrainerState

LoadTeacher = Callable[[], nn.Module]


def external_teacher_run(config: ExperimentConfig) -> RunReport | None:
    """The report of the run that teaches; None where the model teaches itself, or nobody does.

    Args:
        config: the configuration.

    Returns:
        The report.

    Raises:
        ConfigError: it is not told where it is, or it is not finished.
    """
    switches = config.switches
    if not switches.distill or switches.teacher == "self":
        return None
    return teacher_run(_folder(config), switches.teacher)


def teacher_loader(
    config: ExperimentConfig, loaded: LoadedModel, tokenizer: Any
) -> LoadTeacher | None:
    """Loads the teacher that another run has trained, where there is one.

    Args:
        config: the configuration.
        loaded: the student.
        tokenizer: the student's tokenizer.

    Returns:
        The loader; None where the model teaches itself, or nobody does.
    """
    if external_teacher_run(config) is None:
        return None
    # The student's shape now, before anything is cut: adapters are not part of it.
    return partial(load_external_teacher, _folder(config), loaded, tokenizer)


def first_modules(distiller: object, loaded: LoadedModel, state: TrainerState) -> TrainedModules:
    """The modules that a run begins with: the student, and a teacher that is there from the start.

    Args:
        distiller: the run's distiller.
        loaded: the student.
        state: the fresh state; knows the teacher afterwards.

    Returns:
        The modules.
    """
    modules = TrainedModules(loaded.model)
    if isinstance(distiller, ExternalDistiller):
        distiller.take_teacher(modules)
        state.teacher_structure = state.structure
    return modules


def _folder(config: ExperimentConfig) -> Path:
    folder = config.distillation.expanded_teacher_path
    if folder is None:
        raise ConfigError(
            f"{FIELD}: is not set, and ablation {config.ablation} needs a teacher; name the "
            f"export folder of a finished {config.switches.teacher} run"
        )
    return folder

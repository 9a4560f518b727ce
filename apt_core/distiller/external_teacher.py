"""Distillation from a teacher that another run has trained."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from apt_core.distiller.self_distiller import DistillSettings, SelfDistiller
from apt_core.distiller.teacher_run import FIELD
from apt_core.errors import AptError, ConfigError
from apt_core.models.arch import ModelMap
from apt_core.models.export import STRUCTURE, load_pruned
from apt_core.models.loading import LoadedModel, load_tokenizer
from apt_core.models.structure import Structure
from apt_core.models.surgery_record import Surgery
from apt_core.models.trained_modules import TrainedModules


class ExternalDistiller(SelfDistiller):
    """A `SelfDistiller` whose teacher is not the model's own past (paper section 5.6, Table 10).

    Args:
        model_map: where the layers are.
        structure: the student's present structure.
        settings: weights and schedule.
        load_teacher: gives the teacher, frozen and evaluating.
    """

    def __init__(
        self,
        model_map: ModelMap,
        structure: Structure,
        settings: DistillSettings,
        load_teacher: Callable[[], nn.Module],
    ) -> None:
        super().__init__(model_map, structure, settings)
        self.load_teacher = load_teacher

    def take_teacher(self, modules: TrainedModules) -> Surgery:
        """Put the teacher beside the student, with a fresh projection.

        Args:
            modules: plain modules, changed in place.

        Returns:
            The record of what is new.
        """
        taken = super().take_teacher(modules)
        modules.teacher = self.load_teacher()
        return taken


def load_external_teacher(folder: Path, student: LoadedModel, tokenizer: Any) -> nn.Module:
    """An exported model that fits a student: same shape, same predictions, same words.

    Args:
        folder: what `export_model` has written.
        student: the unpruned student.
        tokenizer: the student's tokenizer.

    Returns:
        The teacher, frozen, in evaluation mode.

    Raises:
        ConfigError: it cannot be loaded, or does not fit; says in what.
    """
    try:
        teacher = load_pruned(folder)
        vocabulary = load_tokenizer(str(folder), revision=None, trust_remote_code=False).get_vocab()
    except AptError as error:
        raise ConfigError(f"{FIELD}: cannot be loaded: {error}") from error
    misfits = _misfits(folder, teacher, student)
    if vocabulary != tokenizer.get_vocab():
        misfits.append("its tokenizer has other words")
    if misfits:
        raise ConfigError(
            f"{FIELD}: does not fit the model, given {str(folder)!r}: {'; '.join(misfits)}; "
            "name a run of the same model and dataset"
        )
    return teacher.requires_grad_(False).eval()


def _misfits(folder: Path, teacher: nn.Module, student: LoadedModel) -> list[str]:
    found = []
    config: Any = teacher.config
    if type(teacher) is not type(student.model):
        return [f"it is a {type(teacher).__name__}, not a {type(student.model).__name__}"]
    shape = Structure.from_json(json.loads((folder / STRUCTURE).read_text(encoding="utf-8")))
    if shape != student.structure.with_ranks({}):
        found.append("it has other layers, or is pruned")
    if config.num_labels != student.config.num_labels:
        found.append(f"it knows {config.num_labels} labels, not {student.config.num_labels}")
    return found

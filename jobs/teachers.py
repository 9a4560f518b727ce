"""Who teaches a run that is taught by another: a run of the same sweep, or one that is named."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from apt_core.config import ExperimentConfig
from apt_core.distiller.teacher_run import EXPORT, FIELD, teacher_run
from apt_core.errors import ConfigError
from orchestrator.execution.trial import TrialSpec


@dataclass(frozen=True)
class Teacher:
    """A run that teaches another."""

    run_id: str
    folder: Path
    """Its exported model."""
    is_planned: bool
    """It is a trial of the same sweep, and must finish first."""


def find_teacher(
    config: ExperimentConfig, earlier: Sequence[tuple[ExperimentConfig, TrialSpec]]
) -> Teacher | None:
    """The run that teaches a cell; it decides on the cell's identity.

    Args:
        config: The cell.
        earlier: The trials that are planned before it.

    Returns:
        The teacher; None for a cell that needs none.

    Raises:
        ConfigError: It is not there, or more than one fits.
    """
    arm = config.switches.teacher
    if not config.switches.distill or arm == "self":
        return None
    folder = config.distillation.expanded_teacher_path
    if folder is not None:
        return Teacher(teacher_run(folder, arm).run_id, folder, is_planned=False)
    what = (config.model.model_type, config.data.dataset, config.training.seed)
    fitting = [
        spec
        for other, spec in earlier
        if other.arm == arm and (other.model.model_type, other.data.dataset) == what[:2]
        if other.training.seed == what[2]
    ]
    if len(fitting) == 1:
        return Teacher(fitting[0].run_id, fitting[0].run_dir / EXPORT, is_planned=True)
    many = f"{len(fitting)} {arm} runs of" if fitting else f"no {arm} run of"
    todo = "name one of them" if fitting else f"add arm {arm} to orchestration.grid, or name one"
    raise ConfigError(
        f"{FIELD}: ablation {config.ablation} needs one teacher, and the grid has {many} model "
        f"{what[0]}, dataset {what[1]}, seed {what[2]}; {todo} by its export folder"
    )

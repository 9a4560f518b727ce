"""What changes while a run trains, apart from tensors."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from apt_core.models.structure import Structure
from apt_core.report import EvalPoint


@dataclass
class TrainerState:
    """Where a run is. Everything here is JSON-able and goes into the checkpoint's manifest."""

    total_steps: int
    structure: Structure
    original: Structure
    """The unpruned structure: sparsity is measured against it."""
    step: int = 0
    """Optimizer steps done."""
    train_time_s: float = 0.0
    """Time in training steps and surgery; survives restarts."""
    eval_time_s: float = 0.0
    peak_memory_gib: float = 0.0
    peak_memory_by_phase_gib: dict[str, float] = field(default_factory=dict)
    num_trainable_params_peak: int = 0
    num_restarts: int = 0
    teacher_structure: Structure | None = None
    """Structure of the teacher while there is one."""
    chosen_step: int | None = None
    """Step of the best weights so far, where the best ones are kept."""
    chosen_metric: float | None = None
    """Their score on the held-out rows."""
    teacher_metric: float | None = None
    """The teacher's score on the held-out rows when it was taken, where that is measured."""
    history: list[EvalPoint] = field(default_factory=list)
    surgeries: list[Mapping[str, Any]] = field(default_factory=list)
    step_times: dict[str, list[float]] = field(default_factory=dict)
    """Seconds of single steps by phase."""

    @property
    def sparsity(self) -> float:
        """Fraction of layer parameters removed so far."""
        return self.structure.sparsity_relative_to(self.original)

    @property
    def has_teacher(self) -> bool:
        """Whether the run distils at the moment."""
        return self.teacher_structure is not None

    def to_json(self) -> dict[str, Any]:
        """Everything but the structures, as plain values."""
        return {
            "step": self.step,
            "train_time_s": self.train_time_s,
            "eval_time_s": self.eval_time_s,
            "peak_memory_gib": self.peak_memory_gib,
            "peak_memory_by_phase_gib": self.peak_memory_by_phase_gib,
            "num_trainable_params_peak": self.num_trainable_params_peak,
            "num_restarts": self.num_restarts,
            "chosen_step": self.chosen_step,
            "chosen_metric": self.chosen_metric,
            "teacher_metric": self.teacher_metric,
            "history": [vars(point) for point in self.history],
            "surgeries": list(self.surgeries),
            "step_times": self.step_times,
        }

    def load_json(self, data: Mapping[str, Any]) -> None:
        """The inverse of `to_json`, in place."""
        for name, value in data.items():
            setattr(self, name, value)
        self.history = [EvalPoint(**point) for point in data["history"]]
        self.num_restarts += 1

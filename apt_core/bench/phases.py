"""The phases of a training that are timed, each with a timetable that leads straight into it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

PhaseName = Literal[
    "control", "tuning", "pruning", "pruning, taught", "first cut", "distilling", "retraining"
]
""""first cut" is planned for (`apt_core.capacity`), never timed: it is a moment of a training."""
AIM_DENSITY = 0.4
"""The density that the aims are stated for."""
MIN_SPEEDUPS: Mapping[tuple[int, int], float] = {(1, 64): 1.9, (32, 128): 2.5}
"""Rows and tokens -> how many times faster than the dense model the merged one should be."""
_SPARE = 3
"""Steps that a timetable has left when the last measured one is done."""


@dataclass(frozen=True)
class Phase:
    """A part of a training, and what its step may cost."""

    name: PhaseName
    meaning: str
    time_aim: float | None = None
    """Its step over the control's at most."""
    memory_aim: float | None = None
    """Its peak memory over the control's at most."""
    distils: bool = False
    reads_salience: bool = False
    is_pruned: bool = False

    def aim_at(self, density: float, aim: float | None) -> float | None:
        """The aim, where it was stated for this density."""
        return None if self.is_pruned and density != AIM_DENSITY else aim


CONTROL = Phase("control", "dense lora, adapters on q and v")
PLAIN = Phase("tuning", "the arm's own step: it never changes its shape")
TUNING = Phase("tuning", "the arm's adapters, no salience", 1.08)
PRUNING = Phase("pruning", "+ salience and mask decay", 1.12, reads_salience=True)
TAUGHT = Phase(
    "pruning, taught", "+ a teacher, before the first cut", 1.55, distils=True, reads_salience=True
)
DISTILLING = Phase(
    "distilling", "a teacher, after the last cut", 0.90, distils=True, is_pruned=True
)
RETRAINING = Phase("retraining", "after the cuts, no teacher", 0.50, 0.65, is_pruned=True)
PHASES = (CONTROL, TUNING, PRUNING, TAUGHT, DISTILLING, RETRAINING)
"""Those of APT."""


@dataclass(frozen=True)
class Timetable:
    """Settings under which a training is in a phase, after some steps, for as long as wanted."""

    lead: int
    """Steps before the phase begins."""
    settings: Mapping[str, Any]
    """Field path of the configuration -> value."""


def timetable(phase: Phase, num_steps: int, *, settle: int, has_teacher: bool) -> Timetable:
    """The shortest training that is in a phase for a number of steps.

    Cuts come after `settle` steps with salience, so that they are real ones. The teacher comes when
    the window of the first event opens; for `PRUNING`, which has none, the first window is that of
    an earlier event than the one that the teacher waits for.

    Args:
        phase: where to.
        num_steps: steps that it must last.
        settle: steps before it; at least 2.
        has_teacher: whether the arm distils at all.

    Returns:
        The timetable.
    """
    length = num_steps + _SPARE
    whole = settle + length
    if phase in (CONTROL, PLAIN, TUNING):
        return Timetable(settle, _settings(whole, whole + settle, window=settle))
    if phase == PRUNING:
        late = {"distillation.start_event": 2} if has_teacher else {}
        settings = {**_settings(0, 2 * whole, window=whole), "pruning.num_events": 2, **late}
        return Timetable(settle, settings)
    if phase == TAUGHT:
        return Timetable(settle, _settings(0, whole, window=whole))
    if phase == DISTILLING:
        return Timetable(settle, _settings(0, settle, window=settle, teacher_stop=length))
    return Timetable(settle + 1, _settings(0, settle, window=settle, more=length))


def _settings(
    start: int, stop: int, *, window: int, teacher_stop: int = 1, more: int = _SPARE
) -> dict[str, Any]:
    """One event at `stop`; the teacher leaves `teacher_stop` steps later."""
    return {
        "pruning.start": f"{start} steps",
        "pruning.warmup": "0 steps",
        "pruning.stop": f"{stop} steps",
        "pruning.update_frequency": None,
        "pruning.num_events": 1,
        "pruning.window": f"{window} steps",
        "pruning.mask_step": math.ceil(1e4 / window) / 1e4,
        "distillation.start_event": 0,
        "distillation.stop": f"{stop + teacher_stop} steps",
        "training.max_steps": stop + teacher_stop + more,
    }

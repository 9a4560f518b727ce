"""What a run costs, phase by phase: seconds of its steps and peak memory."""

from collections.abc import Callable

from apt_core.evaluator.memory import peak_memory_gib, reset_peak_memory
from apt_core.trainer.state import TrainerState

MAX_STEP_TIMES = 500


class PhaseMeter:
    """Keeps step times and peak memory of every phase in the run's state.

    The peak that the process reports holds until it is reset, so it is reset where a phase begins:
    what an earlier, larger model took is not charged to the smaller one. Surgery belongs to the
    phase of the step that it follows, an evaluation to that of its step.

    Args:
        state: where the run is; it keeps the measurements, which thereby survive restarts.
        phase_of: step -> name of the phase that this finished step belongs to.
    """

    def __init__(self, state: TrainerState, phase_of: Callable[[int], str]) -> None:
        self.state = state
        self.phase_of = phase_of
        self._phase: str | None = None

    def enter(self) -> None:
        """Note which phase the coming step belongs to; before its work starts."""
        phase = self.phase_of(self.state.step + 1)
        if phase == self._phase:
            return
        if self._phase is not None:
            self.note_memory()
            reset_peak_memory()
        self._phase = phase

    def count_time(self, seconds: float, *, is_surgery: bool) -> None:
        """Count a finished step.

        Args:
            seconds: that it took, evaluation left out.
            is_surgery: whether the model's shape changed in it: part of the training time, but
                not what a step of the phase takes.
        """
        self.state.train_time_s += seconds
        times = self.state.step_times.setdefault(self.phase_of(self.state.step), [])
        if not is_surgery and len(times) < MAX_STEP_TIMES:
            times.append(seconds)

    def note_memory(self) -> float:
        """Read the peak since this phase began (or since a restart in it), and keep it.

        Returns:
            The peak in GiB.
        """
        peak = peak_memory_gib()
        state = self.state
        state.peak_memory_gib = max(state.peak_memory_gib, peak)
        if self._phase is not None:
            phases = state.peak_memory_by_phase_gib
            phases[self._phase] = max(phases.get(self._phase, 0.0), peak)
        return peak

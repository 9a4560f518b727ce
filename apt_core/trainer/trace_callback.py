"""What the loop's callbacks add to a run's trace: training, surgeries, commits."""

from pathlib import Path

from apt_core.models.surgery_record import Surgery
from apt_core.report import RunReport
from apt_core.trace import current, now_us
from apt_core.trainer.callbacks import Callback
from apt_core.trainer.commit import step_of
from apt_core.trainer.state import TrainerState

US_PER_S = 1e6


class TraceCallback(Callback):
    """Writes into the trace that this process records, if it does; nothing per step.

    Steps are what is left of ``training`` without the spans inside it.
    """

    def on_train_start(self, state: TrainerState) -> None:
        """Open ``training``, with the step that it goes on from."""
        trace = current()
        if trace is not None:
            trace.begin("training", step=state.step, total_steps=state.total_steps)

    def on_surgery(self, state: TrainerState, surgery: Surgery) -> None:
        """Write the surgery that has just ended."""
        trace = current()
        if trace is not None:
            end = now_us()
            start = end - int(state.surgeries[-1]["seconds"] * US_PER_S)
            trace.complete("surgery", start, end, step=state.step)

    def on_checkpoint(self, state: TrainerState, path: Path) -> None:
        """Mark which step is safe from here on."""
        trace = current()
        if trace is not None:
            trace.mark("committed", step=step_of(path))

    def on_train_end(self, state: TrainerState, report: RunReport) -> None:
        """Close ``training``."""
        self._close(state)

    def on_error(self, state: TrainerState, error: BaseException) -> None:
        """Close ``training``, and say why."""
        self._close(state, error=type(error).__name__)

    def _close(self, state: TrainerState, **args: str) -> None:
        trace = current()
        if trace is not None:
            trace.end("training", step=state.step, **args)

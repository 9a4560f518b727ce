"""Callbacks watch the loop; they never steer it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from apt_core.models.surgery_record import Surgery
from apt_core.report import RunReport
from apt_core.trainer.state import TrainerState

Metrics = Mapping[str, float]


class Callback:
    """Observes ``(state, values)``; every method does nothing unless it is overridden."""

    def on_train_start(self, state: TrainerState) -> None:
        """Training starts or, with ``state.step > 0``, resumes."""

    def on_step_end(self, state: TrainerState, metrics: Metrics) -> None:
        """An optimizer step is done; `metrics` is empty unless this step is logged."""

    def on_surgery(self, state: TrainerState, surgery: Surgery) -> None:
        """The model has changed its shape."""

    def on_checkpoint(self, state: TrainerState, path: Path) -> None:
        """A checkpoint has been committed: `path` names its step, `state` may be further."""

    def on_train_end(self, state: TrainerState, report: RunReport) -> None:
        """The run is over and measured."""

    def on_error(self, state: TrainerState, error: BaseException) -> None:
        """Training ends with an error, which is raised again afterwards."""


class Callbacks(Callback):
    """Several callbacks as one, called in order.

    Args:
        callbacks: whom to call.
    """

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        self.callbacks = tuple(callbacks)

    def on_train_start(self, state: TrainerState) -> None:
        """Tell everybody."""
        for callback in self.callbacks:
            callback.on_train_start(state)

    def on_step_end(self, state: TrainerState, metrics: Metrics) -> None:
        """Tell everybody."""
        for callback in self.callbacks:
            callback.on_step_end(state, metrics)

    def on_surgery(self, state: TrainerState, surgery: Surgery) -> None:
        """Tell everybody."""
        for callback in self.callbacks:
            callback.on_surgery(state, surgery)

    def on_checkpoint(self, state: TrainerState, path: Path) -> None:
        """Tell everybody."""
        for callback in self.callbacks:
            callback.on_checkpoint(state, path)

    def on_train_end(self, state: TrainerState, report: RunReport) -> None:
        """Tell everybody."""
        for callback in self.callbacks:
            callback.on_train_end(state, report)

    def on_error(self, state: TrainerState, error: BaseException) -> None:
        """Tell everybody."""
        for callback in self.callbacks:
            callback.on_error(state, error)

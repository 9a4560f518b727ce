"""What Prometheus sees of a trial."""

from pathlib import Path

from apt_core.trainer.callbacks import Callback, Metrics
from apt_core.trainer.state import TrainerState
from orchestrator.execution.gauges import Gauges

LOGGED = {
    "aptune_loss": ("train/loss", "Training loss of the last logged step."),
    "aptune_step_seconds": ("time/step_s", "Seconds of the last logged step, evaluation left out."),
    "aptune_sparsity": ("model/sparsity", "Fraction of layer parameters removed."),
    "aptune_metric": ("eval/metric", "The task's main metric at the last evaluation."),
}
"""Gauge -> name in the metric log, and what it is."""
STEP = ("aptune_step", "Optimizer steps done.")
TOTAL_STEPS = ("aptune_total_steps", "Optimizer steps of the whole training.")
CHECKPOINTS = ("aptune_checkpoints", "Checkpoints committed by this worker process.")


class TrialGauges(Callback):
    """Shows one training: at logged steps and at checkpoints, never in between.

    Args:
        run_id: Label ``run_id``.
        arm: Label ``arm``.
    """

    def __init__(self, run_id: str, arm: str) -> None:
        self._gauges = Gauges({"run_id": run_id, "arm": arm})

    def on_train_start(self, state: TrainerState) -> None:
        """Show where it begins or goes on."""
        self._show_steps(state)

    def on_step_end(self, state: TrainerState, metrics: Metrics) -> None:
        """Show what was logged."""
        if not metrics:
            return
        self._show_steps(state)
        for gauge, (name, description) in LOGGED.items():
            if name in metrics:
                self._gauges.set(gauge, metrics[name], description)

    def on_checkpoint(self, state: TrainerState, path: Path) -> None:
        """Count it."""
        self._gauges.count(*CHECKPOINTS)

    def _show_steps(self, state: TrainerState) -> None:
        for (name, description), value in ((STEP, state.step), (TOTAL_STEPS, state.total_steps)):
            self._gauges.set(name, value, description)

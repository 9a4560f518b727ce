from pathlib import Path

import pytest

from apt_core.models.structure import Structure
from apt_core.trainer.state import TrainerState
from orchestrator.execution.trial_gauges import TrialGauges
from tests.orchestrator.execution.test_gauges import faked


def test_a_trial_shows_what_it_logs_and_nothing_at_steps_in_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = faked(monkeypatch)
    state = TrainerState(100, Structure(4, ()), Structure(4, ()))
    gauges = TrialGauges("a", "apt")
    gauges.on_train_start(state)
    state.step = 9
    gauges.on_step_end(state, {})
    state.step = 10
    gauges.on_step_end(
        state, {"train/loss": 0.5, "time/step_s": 0.2, "model/sparsity": 0.4, "train/mu": 1.0}
    )
    gauges.on_checkpoint(state, Path("step-10"))
    assert told.values == {
        "aptune_step": [0, 10],
        "aptune_total_steps": [100, 100],
        "aptune_loss": [0.5],
        "aptune_step_seconds": [0.2],
        "aptune_sparsity": [0.4],
        "aptune_checkpoints": [1],
    }
    assert all(tags == {"run_id": "a", "arm": "apt"} for tags in told.tags.values())

"""Workers that wait for one that never comes: the training fails in time and goes on."""

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.execution.stopping import StopSignal
from orchestrator.execution.sweep import SweepSettings, run_sweep
from orchestrator.execution.trial import WorkerGroup
from tests.nightly import nightly
from tests.orchestrator.execution.standin import CRASH_STEP, starts
from tests.orchestrator.execution.test_sweep import trial


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(1200)
@nightly("starts four workers")
def test_a_hung_collective_restarts_the_trial_from_its_checkpoint(tmp_path: Path) -> None:
    workers = WorkerGroup(num_workers=2, cpus_per_worker=0.5, collective_timeout_s=20)
    spec = replace(trial(tmp_path, "hang"), workers=workers)
    with StopSignal() as stop:
        outcome = run_sweep([spec], SweepSettings(tmp_path, max_failures=1), stop=stop)
    assert outcome.is_complete, outcome.failures
    assert sorted(starts(spec.run_dir)) == [0, 0, CRASH_STEP, CRASH_STEP]

from dataclasses import asdict
from pathlib import Path

import pytest
from ray.train.v2.api.exceptions import WorkerGroupError

from orchestrator.execution.train_run import TellLosses, _ray_trainer, failure_reason
from orchestrator.execution.trial import WorkerGroup


def test_the_reason_is_the_last_line_of_the_lowest_failing_rank() -> None:
    failures = {
        1: RuntimeError("collateral"),
        0: ValueError("Traceback\n  somewhere\n\nthe cause\n"),
    }
    assert failure_reason(WorkerGroupError("all", failures)) == "worker 0: the cause"


def test_an_error_without_text_is_named_by_its_type() -> None:
    assert failure_reason(RuntimeError()) == "RuntimeError"
    assert failure_reason(RuntimeError("first\nlast")) == "last"


def test_a_lost_driver_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    TellLosses().on_trial_recover(1, [], "0123456789abcdef")
    assert caplog.messages == [
        "trial 0123456789abcdef lost its driver; it goes on from its last checkpoint"
    ]


def test_workers_wait_for_each_other_as_long_as_is_configured(tmp_path: Path) -> None:
    workers = asdict(WorkerGroup(num_workers=2, collective_timeout_s=7))
    payload = {"workers": workers, "run_id": "a"}
    ray_trainer = _ray_trainer({"payload": payload, "storage": str(tmp_path), "max_failures": 3})
    assert ray_trainer.backend_config.timeout_s == 7
    assert ray_trainer.backend_config.backend == "gloo"

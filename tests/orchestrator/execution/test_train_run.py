import pytest
from ray.train.v2.api.exceptions import WorkerGroupError

from orchestrator.execution.train_run import TellLosses, failure_reason


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

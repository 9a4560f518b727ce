from ray.train.v2.api.exceptions import WorkerGroupError

from orchestrator.execution.train_run import failure_reason


def test_the_reason_is_the_last_line_of_the_lowest_failing_rank() -> None:
    failures = {
        1: RuntimeError("collateral"),
        0: ValueError("Traceback\n  somewhere\n\nthe cause\n"),
    }
    assert failure_reason(WorkerGroupError("all", failures)) == "worker 0: the cause"


def test_an_error_without_text_is_named_by_its_type() -> None:
    assert failure_reason(RuntimeError()) == "RuntimeError"
    assert failure_reason(RuntimeError("first\nlast")) == "last"

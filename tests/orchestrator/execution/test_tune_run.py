from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray import tune

from orchestrator.execution import cluster
from orchestrator.execution.tune_run import TuneRun


class FakeTuner:
    """Takes what a `tune.Tuner` takes; its run ends with the error of the class."""

    error: BaseException | None = None
    made: dict[str, Any]

    def __init__(self, trainable: Any, **options: Any) -> None:
        type(self).made = options

    def fit(self) -> None:
        if self.error is not None:
            raise self.error


@pytest.fixture
def tuner(monkeypatch: pytest.MonkeyPatch) -> type[FakeTuner]:
    monkeypatch.setattr(tune, "Tuner", FakeTuner)
    monkeypatch.setattr(cluster, "driver_resources", lambda: {"CPU": 1})
    FakeTuner.error = None
    return FakeTuner


def cell(run_id: str) -> dict[str, Any]:
    return {"payload": {"run_id": run_id}}


def test_a_lost_driver_is_replaced_as_often_as_was_asked_for(
    tmp_path: Path, tuner: type[FakeTuner]
) -> None:
    run = TuneRun([cell("a"), cell("b")], tmp_path, limit=2, max_failures=3)
    run.run()
    assert run.error is None
    assert tuner.made["run_config"].failure_config.max_failures == 3
    assert tuner.made["tune_config"].max_concurrent_trials == 2
    name = tuner.made["tune_config"].trial_name_creator
    assert name(SimpleNamespace(config={"cell": cell("b")})) == "b"


def test_an_error_of_tune_is_kept_for_the_driver(tmp_path: Path, tuner: type[FakeTuner]) -> None:
    tuner.error = RuntimeError("no cluster")
    run = TuneRun([cell("a")], tmp_path, limit=1)
    run.start()
    run.end()
    assert run.error is tuner.error
    assert not run.is_alive()
    assert (tmp_path / "stop").exists()  # what Tune looks at before each of its steps

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray import tune

from orchestrator.execution import cluster
from orchestrator.execution.placement import Node
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
    return {"payload": {"run_id": run_id, "workers": {}}}


def one_node() -> tuple[Node, ...]:
    return (Node("a", cpus=8, gpus=(), memory_gib=64),)


def test_a_lost_driver_is_replaced_as_often_as_was_asked_for(
    tmp_path: Path, tuner: type[FakeTuner]
) -> None:
    run = TuneRun([cell("a"), cell("b")], tmp_path, nodes=one_node, cap=2, max_failures=3)
    run.run()
    assert run.error is None
    assert tuner.made["run_config"].failure_config.max_failures == 3
    name = tuner.made["tune_config"].trial_name_creator
    assert name(SimpleNamespace(config={"cell": cell("b")})) == "b"


def test_tune_gets_every_trial_once_and_no_more_at_a_time_than_asked_for(
    tmp_path: Path, tuner: type[FakeTuner]
) -> None:
    cells = [cell(name) for name in "abc"]
    TuneRun(cells, tmp_path, nodes=one_node, cap=2).run()
    config = tuner.made["tune_config"]
    assert config.num_samples == 3
    assert [config.search_alg.suggest(name) for name in ("1", "2", "3")] == [
        {"cell": cells[0]},
        {"cell": cells[1]},
        None,
    ]
    assert tuner.made.get("param_space") is None


def test_an_error_of_tune_is_kept_for_the_driver(tmp_path: Path, tuner: type[FakeTuner]) -> None:
    tuner.error = RuntimeError("no cluster")
    run = TuneRun([cell("a")], tmp_path, nodes=one_node)
    run.start()
    run.end()
    assert run.error is tuner.error
    assert not run.is_alive()
    assert (tmp_path / "stop").exists()  # what Tune looks at before each of its steps

"""A real MLflow server that comes and goes: everything arrives, once, and training goes on."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from apt_core.report import StepMetrics
from apt_core.trainer.metric_log import JsonlWriter
from orchestrator.execution.status import TrialState, write_status
from orchestrator.tracking import shipment
from orchestrator.tracking.mlflow_sink import MlflowSink
from orchestrator.tracking.outbox import Shipper
from orchestrator.tracking.server import LocalMlflowServer
from orchestrator.tracking.sink import TrialInfo
from tests.flapping_front import Front, flapping_front, flaps

pytestmark = pytest.mark.services

NUM_FLAPS = 20
NUM_STEPS = 200
MakeStep = Callable[..., StepMetrics]
Point = tuple[int, int, float]


@pytest.fixture
def front(server: LocalMlflowServer) -> Iterator[Front]:
    with flapping_front(server.uri) as front:
        yield front


def open_sink(front: Front, experiment: str) -> MlflowSink:
    sink = MlflowSink(front.uri, experiment)
    sink.open()
    return sink


def ship(trial: TrialInfo, sink: MlflowSink) -> Shipper:
    shipper = Shipper(sink, poll_s=0.01, max_backoff_s=0.05)
    shipper.add(trial)
    shipper.start()
    return shipper


def shown(sink: MlflowSink) -> list[Point]:
    """The points of the experiment's only trial."""
    runs = sink._live.search_runs([sink._experiment_id], "tags.`aptune.kind` = 'trial'")
    [run] = [run.info.run_id for run in runs]
    metrics = sink._live.get_metric_history(run, "train/loss")
    return sorted((m.step, m.timestamp, m.value) for m in metrics)


def expected(steps: list[StepMetrics]) -> list[Point]:
    return [(s.step, s.time_ms, s.values["train/loss"]) for s in steps]


def train(trial: TrialInfo, steps: list[StepMetrics]) -> None:
    """What a training does meanwhile."""
    with JsonlWriter(trial.directory / "metrics.jsonl") as writer:
        for step in steps:
            writer.write(step)
            time.sleep(0.001)
    write_status(trial.directory, TrialState.KILLED, reason="the test is over")


def test_a_server_that_fails_twenty_times_ends_with_every_point_once(
    front: Front, trial: TrialInfo, step_metrics: MakeStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipment, "LINES_PER_DELIVERY", 5)
    sink = open_sink(front, "twenty times")
    front.follow(flaps(NUM_FLAPS, seed=5))
    write_status(trial.directory, TrialState.RUNNING)
    steps = [step_metrics(step) for step in range(NUM_STEPS)]
    training = threading.Thread(target=train, args=(trial, steps))
    shipper = ship(trial, sink)
    training.start()
    training.join(60)
    assert shipper.close(240) == []
    assert front.num_left == 0, "it was not tried hard enough"
    assert shown(sink) == expected(steps)


def test_a_server_that_is_away_for_a_whole_run_gets_it_from_the_next_launch(
    front: Front, trial: TrialInfo, step_metrics: MakeStep
) -> None:
    sink = open_sink(front, "a whole run")
    front.go(down=True)
    write_status(trial.directory, TrialState.RUNNING)
    steps = [step_metrics(step) for step in range(50)]
    shipper = ship(trial, sink)
    train(trial, steps)
    (undelivered,) = shipper.close(1.0)
    assert str(trial.directory) in undelivered
    front.go(down=False)
    assert ship(trial, sink).close(120) == []
    assert shown(sink) == expected(steps)

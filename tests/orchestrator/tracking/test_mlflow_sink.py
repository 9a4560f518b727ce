import math
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from apt_core.errors import TrackingError
from apt_core.report import StepMetrics
from apt_core.trainer.metric_log import JsonlWriter
from orchestrator.execution.status import TrialState, write_status
from orchestrator.tracking.cursor import CURSOR_FILE
from orchestrator.tracking.mlflow_sink import MAX_PARAM_LENGTH, PARENT_TAG, MlflowSink, connect
from orchestrator.tracking.mlflow_view import VIEW_TAG, grid_view
from orchestrator.tracking.outbox import Shipper
from orchestrator.tracking.server import LocalMlflowServer
from orchestrator.tracking.sink import DeliveryError, TrialInfo

pytestmark = pytest.mark.services

NUM_STEPS = 1500
MakeStep = Callable[..., StepMetrics]


@pytest.fixture
def sink(server: LocalMlflowServer, request: pytest.FixtureRequest) -> Iterator[MlflowSink]:
    sink = MlflowSink(server.uri, request.node.name)
    sink.open()
    yield sink
    sink.close()


def history(sink: MlflowSink, run: str, key: str) -> list[tuple[int, int, float]]:
    metrics = sink._live.get_metric_history(run, key)
    return sorted((metric.step, metric.timestamp, metric.value) for metric in metrics)


def children(sink: MlflowSink) -> list[str]:
    runs = sink._live.search_runs([sink._experiment_id], "tags.`aptune.kind` = 'trial'")
    return [run.info.run_id for run in runs]


def write_steps(trial: TrialInfo, steps: list[StepMetrics]) -> None:
    with JsonlWriter(trial.directory / "metrics.jsonl") as writer:
        for step in steps:
            writer.write(step)


def test_every_grid_key_is_parameter_and_tag_of_the_child(
    sink: MlflowSink, trial: TrialInfo
) -> None:
    run = sink._live.get_run(sink.start_trial(trial))
    for key, value in trial.keys.items():
        assert run.data.params[key] == value
        assert run.data.tags[key] == value
    assert run.data.params["training.seed"] == "1"
    assert "training.seed" not in run.data.tags
    assert run.info.run_name == trial.name
    parent = sink._live.get_run(run.data.tags[PARENT_TAG])
    assert parent.info.run_name == "a sweep"


def test_a_second_process_finds_the_same_runs_and_opens_them_again(
    sink: MlflowSink, server: LocalMlflowServer, trial: TrialInfo
) -> None:
    first = sink.start_trial(trial)
    sink.finish_trial(first, "FAILED", time_ms=1_700_000_000_000, reason="worker 0: out of memory")
    ended = sink._live.get_run(first)
    assert (ended.info.status, ended.info.end_time) == ("FAILED", 1_700_000_000_000)
    assert ended.data.tags["aptune.reason"] == "worker 0: out of memory"

    another = MlflowSink(server.uri, sink._experiment)
    another.open()
    assert another.store == sink.store
    assert another.start_trial(trial) == first
    assert sink._live.get_run(first).info.status == "RUNNING"
    assert len(children(sink)) == 1


def test_finishing_a_late_child_leaves_an_ended_sweep_ended(
    sink: MlflowSink, server: LocalMlflowServer, sweep: TrialInfo, trial: TrialInfo
) -> None:
    parent = sink.start_trial(sweep)
    sink.finish_trial(parent, "FINISHED", time_ms=1)
    another = MlflowSink(server.uri, sink._experiment)
    another.open()
    child = another.start_trial(trial)
    assert sink._live.get_run(child).data.tags[PARENT_TAG] == parent
    assert sink._live.get_run(parent).info.status == "FINISHED"


def test_replacing_begins_with_an_empty_run(
    sink: MlflowSink, trial: TrialInfo, step_metrics: MakeStep
) -> None:
    first = sink.start_trial(trial)
    sink.log(first, [step_metrics(1)])
    second = sink.start_trial(trial, replace=True)
    assert second != first
    assert children(sink) == [second]
    assert history(sink, second, "train/loss") == []


def test_changed_and_overlong_parameters_do_not_stop_a_run(
    sink: MlflowSink, server: LocalMlflowServer, trial: TrialInfo
) -> None:
    import dataclasses

    many = {f"p{i}": str(i) for i in range(250)}
    long = dataclasses.replace(trial, params={**many, "a,b": "x" * 7000})
    run = sink.start_trial(long)
    changed = dataclasses.replace(trial, params={"p0": "changed", "new": "yes"})
    assert sink.start_trial(changed) == run
    params = sink._live.get_run(run).data.params
    assert len([key for key in params if key.startswith("p")]) == 250
    assert params["a_b"] == "x" * MAX_PARAM_LENGTH
    assert (params["p0"], params["new"]) == ("0", "yes")


def test_replayed_metrics_stay_single_also_when_they_are_not_finite(
    sink: MlflowSink, trial: TrialInfo
) -> None:
    run = sink.start_trial(trial)
    values = {"train/loss": 0.5, "train/grad_norm": math.inf, "train/loss_scale": math.nan}
    for _ in range(2):
        sink.log(run, [StepMetrics(3, 1_700_000_000_123, values)])
    assert history(sink, run, "train/loss") == [(3, 1_700_000_000_123, 0.5)]
    for key in ("train/grad_norm", "train/loss_scale"):
        [(step, _, value)] = history(sink, run, key)
        assert step == 3
        assert math.isnan(value)


def test_artifacts_are_uploaded_into_their_folder(
    sink: MlflowSink, trial: TrialInfo, tmp_path: Path
) -> None:
    run = sink.start_trial(trial)
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    sink.log_artifact(run, tmp_path / "config.json")
    sink.log_artifact(run, tmp_path / "config.json", "export")
    assert [f.path for f in sink._live.list_artifacts(run)] == ["config.json", "export"]
    assert [f.path for f in sink._live.list_artifacts(run, "export")] == ["export/config.json"]


def test_what_the_server_refuses_is_permanent(sink: MlflowSink, step_metrics: MakeStep) -> None:
    with pytest.raises(DeliveryError) as caught:
        sink.log("../no-run-id", [step_metrics(1)])
    assert caught.value.is_permanent


def test_a_deleted_experiment_is_an_error_that_says_what_to_do(
    sink: MlflowSink, server: LocalMlflowServer
) -> None:
    sink._live.delete_experiment(sink._experiment_id)
    with pytest.raises(TrackingError, match=r"deleted; restore it or choose another name"):
        MlflowSink(server.uri, sink._experiment).open()


def test_a_view_of_the_grid_is_saved_once_and_then_left_to_the_users(
    server: LocalMlflowServer,
) -> None:
    MlflowSink(server.uri, "a view").open()
    client = connect(server.uri)
    experiment = client.get_experiment_by_name("a view")
    assert experiment is not None
    assert experiment.tags[VIEW_TAG] == grid_view(experiment.creation_time)
    client.set_experiment_tag(experiment.experiment_id, VIEW_TAG, "another")
    MlflowSink(server.uri, "a view").open()
    assert client.get_experiment(experiment.experiment_id).tags[VIEW_TAG] == "another"


def test_losing_the_cursor_doubles_nothing_on_the_server(
    sink: MlflowSink, trial: TrialInfo, step_metrics: MakeStep
) -> None:
    write_status(trial.directory, TrialState.RUNNING)
    steps = [step_metrics(step) for step in range(400)]
    write_steps(trial, steps)
    for _ in range(2):
        shipper = Shipper(sink, poll_s=0.05)
        shipper.add(trial)
        shipper.start()
        assert shipper.close(60.0) == []
        (trial.directory / CURSOR_FILE).unlink()
    [run] = children(sink)
    expected = [(s.step, s.time_ms, s.values["train/loss"]) for s in steps]
    assert history(sink, run, "train/loss") == expected


def test_a_server_killed_midway_and_restarted_shows_every_point_once(
    tmp_path: Path, trial: TrialInfo, step_metrics: MakeStep
) -> None:
    results = tmp_path / "own"
    steps = [step_metrics(step) for step in range(NUM_STEPS)]
    write_status(trial.directory, TrialState.RUNNING)
    write_steps(trial, steps[: NUM_STEPS // 2])
    with LocalMlflowServer(results) as first:
        sink = MlflowSink(first.uri, "outage")
        sink.open()
        shipper = Shipper(sink, poll_s=0.05, max_backoff_s=0.5)
        shipper.add(trial)
        shipper.start()
        while not (trial.directory / CURSOR_FILE).exists():
            time.sleep(0.01)
        assert first.pid is not None
        os.killpg(first.pid, signal.SIGKILL)
        began = time.monotonic()
        write_steps(trial, steps[NUM_STEPS // 2 :])
        assert shipper.flush(1.0) != []
        assert time.monotonic() - began < 15.0
    port = int(first.uri.rpartition(":")[2])
    with LocalMlflowServer(results, port):
        assert shipper.close(60.0) == []
        [run] = children(sink)
        points = history(sink, run, "train/loss")
    assert Counter(step for step, _, _ in points) == Counter(range(NUM_STEPS))
    assert points == [(s.step, s.time_ms, s.values["train/loss"]) for s in steps]

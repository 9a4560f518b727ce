import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from apt_core.report import StepMetrics
from apt_core.trainer.metric_log import JsonlWriter
from orchestrator.execution.status import TrialState, write_status
from orchestrator.tracking.outbox import Shipper
from orchestrator.tracking.sink import DeliveryError, TrialInfo
from tests.small_disk import KINDS, small_disk

MakeStep = Callable[..., StepMetrics]
MemorySink = Any


@pytest.fixture
def shipper(sink: MemorySink) -> Iterator[Shipper]:
    shipper = Shipper(sink, poll_s=0.01, max_backoff_s=0.05)
    shipper.start()
    yield shipper
    shipper.close(timeout_s=0.0)


@pytest.fixture
def running(trial: TrialInfo, step_metrics: MakeStep) -> TrialInfo:
    write_status(trial.directory, TrialState.RUNNING)
    with JsonlWriter(trial.directory / "metrics.jsonl") as writer:
        for step in range(10):
            writer.write(step_metrics(step))
    return trial


def wait_until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.005)


def test_flush_returns_when_everything_on_disk_has_arrived(
    shipper: Shipper, sink: MemorySink, running: TrialInfo
) -> None:
    shipper.add(running)
    assert shipper.flush(5.0) == []
    assert len(sink.only().points) == 10


def test_metrics_arrive_without_being_asked_for(
    shipper: Shipper, sink: MemorySink, running: TrialInfo, step_metrics: MakeStep
) -> None:
    shipper.add(running)
    wait_until(lambda: bool(sink.runs) and len(sink.only().points) == 10)
    with JsonlWriter(running.directory / "metrics.jsonl") as writer:
        writer.write(step_metrics(10))
    wait_until(lambda: len(sink.only().points) == 11)


def test_an_outage_loses_and_doubles_nothing(
    shipper: Shipper, sink: MemorySink, running: TrialInfo, caplog: pytest.LogCaptureFixture
) -> None:
    sink.problem = DeliveryError("connection refused")
    with caplog.at_level(logging.INFO):
        shipper.add(running)
        wait_until(lambda: sink.calls >= 4)
        sink.problem = None
        assert shipper.flush(5.0) == []
        wait_until(lambda: "takes metrics again" in caplog.text)
    assert sorted(step for _, _, step, _ in sink.only().points) == list(range(10))
    warnings = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "connection refused" in warnings[0].getMessage()


def test_the_lag_grows_while_the_sink_is_away_and_ends_with_the_outage(
    shipper: Shipper, sink: MemorySink, running: TrialInfo
) -> None:
    sink.problem = DeliveryError("connection refused")
    shipper.add(running)
    wait_until(lambda: shipper.lag_s > 0.3)
    sink.problem = None
    assert shipper.flush(5.0) == []
    assert shipper.lag_s < 0.3


def test_flush_names_what_did_not_arrive(
    shipper: Shipper, sink: MemorySink, running: TrialInfo, sweep: TrialInfo
) -> None:
    write_status(sweep.directory, TrialState.RUNNING)
    sink.problem = DeliveryError("connection refused")
    shipper.add(sweep)
    shipper.add(running)
    began = time.monotonic()
    undelivered = shipper.flush(0.2)
    assert time.monotonic() - began < 2.0
    assert undelivered == [
        f"{sweep.directory}: connection refused",
        f"{running.directory}: connection refused",
    ]


def test_flush_does_not_wait_longer_than_asked_for_a_hanging_server(
    shipper: Shipper, sink: MemorySink, running: TrialInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    monkeypatch.setattr(sink, "log", lambda run, metrics: release.wait(10.0))
    shipper.add(running)
    began = time.monotonic()
    assert shipper.flush(0.2) == [f"{running.directory}: not reached in time"]
    assert time.monotonic() - began < 2.0
    release.set()


def test_one_trial_that_always_fails_does_not_starve_the_others(
    shipper: Shipper,
    sink: MemorySink,
    running: TrialInfo,
    sweep: TrialInfo,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = sink.start_trial

    def refuse_sweep(trial: TrialInfo, *, replace: bool = False) -> str:
        if trial.parent is None:
            raise DeliveryError("no")
        return str(start(trial, replace=replace))

    monkeypatch.setattr(sink, "start_trial", refuse_sweep)
    write_status(sweep.directory, TrialState.RUNNING)
    shipper.add(sweep)
    shipper.add(running)
    wait_until(lambda: bool(sink.runs) and len(sink.only().points) == 10)
    assert shipper.flush(0.2) == [f"{sweep.directory}: no"]


def test_a_defect_in_a_sink_does_not_end_the_thread(
    shipper: Shipper, sink: MemorySink, running: TrialInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sink, "log", None)
        shipper.add(running)
        assert "TypeError" in shipper.flush(0.2)[0]
    assert shipper.flush(5.0) == []


def test_the_pause_grows_to_its_limit_while_the_sink_is_away(
    sink: MemorySink, running: TrialInfo
) -> None:
    sink.problem = DeliveryError("away")
    shipper = Shipper(sink, poll_s=0.01, max_backoff_s=10.0)
    shipper.add(running)
    shipper.start()
    time.sleep(0.6)  # pauses of 0.02 + 0.04 + ... + 0.32 s; without back-off there are 60 calls
    assert 3 <= sink.calls <= 7
    shipper.close(0.0)


def test_closing_a_shipper_without_trials_is_quick(sink: MemorySink) -> None:
    shipper = Shipper(sink)
    shipper.start()
    began = time.monotonic()
    assert shipper.close() == []
    assert time.monotonic() - began < 2.0


@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_too_full_for_the_cursor_neither_loses_nor_doubles(
    sink: MemorySink, step_metrics: MakeStep, sweep: TrialInfo, tmp_path: Path, kind: str
) -> None:
    with small_disk(tmp_path / "disk", kind) as disk:
        trial = TrialInfo("c0ffee", "apt 0.6", disk.folder, parent=sweep)
        write_status(trial.directory, TrialState.RUNNING)
        with JsonlWriter(trial.directory / "metrics.jsonl") as writer:
            for step in range(10):
                writer.write(step_metrics(step))
        disk.fill()
        shipper = Shipper(sink, poll_s=0.01, max_backoff_s=0.05)
        shipper.add(trial)
        shipper.start()
        (told,) = shipper.flush(0.5)
        assert "tracking.json: cannot be written" in told
        assert disk.told in told
        disk.free()
        assert shipper.close(5.0) == []
        assert sorted(step for _, _, step, _ in sink.only().points) == list(range(10))

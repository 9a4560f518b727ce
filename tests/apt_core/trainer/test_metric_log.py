"""A run's own record, written here and read by the tracker's tail reader."""

import logging
import math
import statistics
import time

import pytest

from apt_core.errors import StorageError
from apt_core.report import StepMetrics
from apt_core.trainer.build import build_trainer
from apt_core.trainer.metric_log import JsonlWriter, MetricLog
from apt_core.trainer.state import TrainerState
from orchestrator.tracking.jsonl import read_metrics
from tests.reference.training_cases import ID
from tests.small_disk import KINDS, small_disk
from tests.tiny import tiny_model
from tests.tiny_run import tiny_experiment

logger = logging.getLogger(__name__)


@pytest.fixture
def state():
    loaded, structure = tiny_model()
    return TrainerState(100, structure, loaded.structure)


def log_steps(path, state, steps, first=0):
    log = MetricLog(path)
    state.step = first
    log.on_train_start(state)
    for state.step in steps:
        log.on_step_end(state, {"train/loss": float(state.step)})
    return log


def test_every_logged_step_is_one_line_with_its_time(tmp_path, state):
    log_steps(tmp_path / "metrics.jsonl", state, [1, 2])
    lines, _ = read_metrics(tmp_path / "metrics.jsonl")
    assert [(line.step, line.values) for line in lines] == [
        (1, {"train/loss": 1.0}),
        (2, {"train/loss": 2.0}),
    ]
    assert 0 <= lines[1].time_ms - lines[0].time_ms < 60_000
    assert lines[0].time_ms > 1_600_000_000_000


def test_a_step_that_is_not_logged_leaves_no_line(tmp_path, state):
    log = log_steps(tmp_path / "metrics.jsonl", state, [1])
    log.on_step_end(state, {})
    assert len(read_metrics(tmp_path / "metrics.jsonl")[0]) == 1


def test_a_resumed_run_replaces_the_lines_after_its_checkpoint(tmp_path, state):
    path = tmp_path / "metrics.jsonl"
    log_steps(path, state, range(1, 10))
    log_steps(path, state, [7, 8], first=6)
    assert [line.step for line in read_metrics(path)[0]] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_run_that_starts_anew_begins_with_an_empty_file(tmp_path, state):
    path = tmp_path / "metrics.jsonl"
    log_steps(path, state, range(1, 4))
    log_steps(path, state, [])
    assert path.read_bytes() == b""


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_reach_the_reader_as_they_are(tmp_path, state, value):
    path = tmp_path / "metrics.jsonl"
    log = MetricLog(path)
    log.on_train_start(state)
    log.on_step_end(state, {"train/loss": value, "train/mu": 0.5})
    (line,) = read_metrics(path)[0]
    assert line.values["train/mu"] == 0.5
    assert line.values["train/loss"] == value or math.isnan(value)
    assert math.isnan(line.values["train/loss"]) == math.isnan(value)


@pytest.mark.parametrize("foreign", [b"[1]\n", b"17\n", b"null\n", b"{}\n", b"\xff\xfe\n"])
def test_lines_that_are_no_metrics_go_when_the_file_is_cut(tmp_path, foreign):
    path = tmp_path / "metrics.jsonl"
    with JsonlWriter(path) as writer:
        writer.write(StepMetrics(1, 5, {"a": 1.0}))
    with path.open("ab") as file:
        file.write(foreign)
    with JsonlWriter(path) as writer:
        assert writer.truncate_after(1) == 1
    assert [line.step for line in read_metrics(path)[0]] == [1]


@pytest.mark.parametrize("ending", ["on_train_end", "on_error"])
def test_the_file_is_closed_when_the_run_ends(tmp_path, state, ending):
    log = log_steps(tmp_path / "metrics.jsonl", state, [1])
    getattr(log, ending)(state, None)
    with pytest.raises(ValueError, match="closed"):
        log.on_step_end(state, {"train/loss": 1.0})
    assert len(read_metrics(tmp_path / "metrics.jsonl")[0]) == 1


def test_an_error_before_the_start_needs_no_file(tmp_path, state):
    MetricLog(tmp_path / "metrics.jsonl").on_error(state, RuntimeError())
    assert not (tmp_path / "metrics.jsonl").exists()


def log_until_refused(log, state):
    for state.step in range(6, 1000):
        log.on_step_end(state, {"train/loss": float(state.step)})


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_leaves_whole_lines_and_a_successor_goes_on(tmp_path, state, kind):
    with small_disk(tmp_path / "disk", kind) as disk:
        path = disk.folder / "metrics.jsonl"
        log = log_steps(path, state, range(1, 6))
        disk.fill(path)
        with pytest.raises(StorageError, match=rf"{path}: .*{disk.told}.* free space"):
            log_until_refused(log, state)
        log.on_error(state, StorageError())
        disk.free()
        assert path.read_bytes().endswith(b"\n")
        whole = [line.step for line in read_metrics(path)[0]]
        assert whole == list(range(1, state.step))
        log_steps(path, state, range(4, 9), first=3)
        assert [line.step for line in read_metrics(path)[0]] == list(range(1, 9))


def test_recording_costs_less_than_a_fiftieth_of_the_smallest_training(tmp_path, monkeypatch):
    """All that training does for the trackers; processor time, for the machine may be busy."""
    spent = []
    on_step_end = MetricLog.on_step_end

    def timed(self, state, metrics):
        began = time.thread_time()
        on_step_end(self, state, metrics)
        spent.append(time.thread_time() - began)

    monkeypatch.setattr(MetricLog, "on_step_end", timed)
    trainer = build_trainer(
        tiny_experiment(tmp_path, "arm=ft", "training.max_steps=12"),
        run_dir=tmp_path / "a",
        run_id=ID,
    )
    trainer.checkpointer.restore_latest(trainer)
    trainer.engine = trainer.make_engine(trainer.modules, None)
    trainer.callbacks.on_train_start(trainer.state)
    began = time.thread_time()
    trainer._run(trainer.engine)
    share = sum(spent) / (time.thread_time() - began)
    step_us = statistics.median(spent) * 1e6
    logger.info("recording: %.0f us a step, %.2f%% of the steps", step_us, 100 * share)
    assert len(spent) == trainer.state.total_steps
    assert share < 0.02

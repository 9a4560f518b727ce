from pathlib import Path

import pytest

from apt_core.errors import TrainingStoppedError
from apt_core.trace import recording
from apt_core.trainer.build import run_training
from orchestrator.traces import Record, Span, exclusive, read_trace
from tests.tiny_run import EVENTS, TOTAL_STEPS, tiny_experiment


def total_s(record: Record, *names: str) -> float:
    return sum(p.end_s - p.start_s for p in exclusive(record.spans) if p.name in names)


def only(record: Record, name: str) -> Span:
    (span,) = (span for span in record.spans if span.name == name)
    return span


def test_a_training_records_its_parts_and_what_is_left_are_its_steps(tmp_path: Path) -> None:
    config = tiny_experiment(tmp_path, "training.save_every=12 steps")
    path = tmp_path / "trace.json"
    with recording(path, "me"):
        report = run_training(config, run_dir=tmp_path / "run", run_id="a")
    record = read_trace(path)
    assert {span.name for span in record.spans} == {
        *("set-up", "model", "data", "restore", "training", "surgery", "evaluation"),
        *("checkpoint", "summary", "export", "efficiency"),
    }
    assert all(span.is_closed for span in record.spans)
    assert [mark.args["step"] for mark in record.marks] == [12, 24, 36]
    cuts = [span.args["step"] for span in record.spans if span.name == "surgery"]
    assert cuts == [surgery["step"] for surgery in report.surgeries]
    assert set(EVENTS) <= set(cuts)
    assert only(record, "training").args == {"step": 0, "total_steps": TOTAL_STEPS}
    # The loop's own clock says the same, but for logging and what stands between two steps.
    trained_s = total_s(record, "training", "surgery")
    assert report.train_time_s <= trained_s + 0.01
    assert trained_s <= 1.5 * report.train_time_s + 1.0  # a busy machine may pause anywhere


def test_a_training_that_ends_early_says_why_and_goes_on_where_it_was(tmp_path: Path) -> None:
    config = tiny_experiment(tmp_path, "arm=ft", "training.max_steps=6")
    path, asked = tmp_path / "trace.json", iter([False, False, True])
    with recording(path, "me"), pytest.raises(TrainingStoppedError):
        run_training(config, run_dir=tmp_path / "run", run_id="a", should_stop=lambda: next(asked))
    assert '"error": "TrainingStoppedError"' in path.read_text()
    with recording(path, "me"):
        run_training(config, run_dir=tmp_path / "run", run_id="a")
    trainings = [span for span in read_trace(path).spans if span.name == "training"]
    assert [span.args["step"] for span in trainings] == [0, 2]

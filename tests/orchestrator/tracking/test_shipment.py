from collections.abc import Callable
from typing import Any

import pytest

from apt_core.report import StepMetrics
from apt_core.trainer.metric_log import JsonlWriter
from orchestrator.execution.status import TrialState, write_status
from orchestrator.tracking.cursor import CURSOR_FILE
from orchestrator.tracking.shipment import LINES_PER_DELIVERY, TrialShipment
from orchestrator.tracking.sink import DeliveryError, TrialInfo

MakeStep = Callable[..., StepMetrics]
MemorySink = Any


def write_steps(trial: TrialInfo, steps: list[StepMetrics]) -> None:
    with JsonlWriter(trial.directory / "metrics.jsonl") as writer:
        for step in steps:
            writer.write(step)


def shipped_steps(sink: MemorySink) -> list[int]:
    return [step for key, _, step, _ in sink.only().points if not key.startswith("final/")]


def test_a_trial_that_has_not_begun_costs_no_request(sink: MemorySink, trial: TrialInfo) -> None:
    write_status(trial.directory, TrialState.PENDING)
    TrialShipment(trial, sink).advance()
    assert sink.calls == 0


def test_new_lines_go_out_once(sink: MemorySink, trial: TrialInfo, step_metrics: MakeStep) -> None:
    write_status(trial.directory, TrialState.RUNNING)
    shipment = TrialShipment(trial, sink)
    write_steps(trial, [step_metrics(1)])
    shipment.advance()
    calls = sink.calls
    shipment.advance()
    assert sink.calls == calls
    write_steps(trial, [step_metrics(2)])
    shipment.advance()
    assert shipped_steps(sink) == [1, 2]


def test_an_interrupted_delivery_goes_on_in_another_process(
    sink: MemorySink, trial: TrialInfo, step_metrics: MakeStep
) -> None:
    write_status(trial.directory, TrialState.RUNNING)
    write_steps(trial, [step_metrics(step) for step in range(3 * LINES_PER_DELIVERY)])
    sink.fail_after = 2  # start_trial and the first delivery
    with pytest.raises(DeliveryError):
        TrialShipment(trial, sink).advance()
    assert len(shipped_steps(sink)) == LINES_PER_DELIVERY
    sink.fail_after = None
    TrialShipment(trial, sink).advance()
    assert shipped_steps(sink) == list(range(3 * LINES_PER_DELIVERY))


def test_a_lost_cursor_doubles_nothing(
    sink: MemorySink, trial: TrialInfo, step_metrics: MakeStep
) -> None:
    write_status(trial.directory, TrialState.RUNNING)
    write_steps(trial, [step_metrics(step) for step in range(20)])
    shipment = TrialShipment(trial, sink)
    shipment.advance()
    (trial.directory / CURSOR_FILE).unlink()
    shipment.advance()
    (trial.directory / CURSOR_FILE).unlink()
    TrialShipment(trial, sink).advance()
    assert shipped_steps(sink) == list(range(20))


def test_a_run_that_resumed_from_an_earlier_step_shows_every_step_once(
    sink: MemorySink, trial: TrialInfo, step_metrics: MakeStep
) -> None:
    write_status(trial.directory, TrialState.RUNNING)
    write_steps(trial, [step_metrics(step) for step in range(10)])
    shipment = TrialShipment(trial, sink)
    shipment.advance()
    with JsonlWriter(trial.directory / "metrics.jsonl") as writer:
        writer.truncate_after(5)
        for step in range(6, 12):
            writer.write(step_metrics(step, time_ms=1_800_000_000_000 + step))
    shipment.advance()
    assert shipped_steps(sink) == list(range(12))


def test_a_replacement_that_failed_halfway_is_repeated(
    sink: MemorySink, trial: TrialInfo, step_metrics: MakeStep
) -> None:
    write_status(trial.directory, TrialState.RUNNING)
    write_steps(trial, [step_metrics(step) for step in range(10)])
    TrialShipment(trial, sink).advance()
    with JsonlWriter(trial.directory / "metrics.jsonl") as writer:
        writer.truncate_after(5)
    sink.problem = DeliveryError("away")
    with pytest.raises(DeliveryError):
        TrialShipment(trial, sink).advance()
    sink.problem = None
    TrialShipment(trial, sink).advance()
    assert shipped_steps(sink) == list(range(6))


def test_the_end_brings_artifacts_summary_and_state(
    sink: MemorySink,
    trial: TrialInfo,
    step_metrics: MakeStep,
    write_result: Callable[[TrialInfo], None],
) -> None:
    (trial.directory / "config.json").write_text("{}", encoding="utf-8")
    (trial.directory / "export").mkdir()
    (trial.directory / "export" / "config.json").write_text("[]", encoding="utf-8")
    write_steps(trial, [step_metrics(1)])
    write_result(trial)
    write_status(trial.directory, TrialState.FINISHED)
    shipment = TrialShipment(trial, sink)
    shipment.advance()
    run = sink.only()
    assert run.state == "FINISHED"
    assert run.artifacts["config.json"] == b"{}"
    assert run.artifacts["export/config.json"] == b"[]"
    assert "result.json" in run.artifacts
    finals = {key: value for key, _, step, value in run.points if step == 100}
    assert finals["final/accuracy"] == 0.91
    assert finals["final/density"] == pytest.approx(0.41)
    calls = sink.calls
    TrialShipment(trial, sink).advance()
    assert sink.calls == calls
    assert shipment.is_settled()


def test_finished_without_a_valid_result_is_not_shown_as_finished(
    sink: MemorySink, trial: TrialInfo
) -> None:
    write_status(trial.directory, TrialState.FINISHED)
    TrialShipment(trial, sink).advance()
    assert sink.runs == {}


def test_a_failed_trial_that_runs_again_is_open_again(
    sink: MemorySink, trial: TrialInfo, step_metrics: MakeStep
) -> None:
    write_steps(trial, [step_metrics(1)])
    write_status(trial.directory, TrialState.FAILED, reason="out of memory")
    shipment = TrialShipment(trial, sink)
    shipment.advance()
    assert sink.only().state == "FAILED"
    write_status(trial.directory, TrialState.RUNNING)
    write_steps(trial, [step_metrics(2)])
    shipment.advance()
    assert sink.only().state == "RUNNING"
    assert shipped_steps(sink) == [1, 2]


def test_the_sweep_itself_ends_by_its_status_alone(sink: MemorySink, sweep: TrialInfo) -> None:
    (sweep.directory / "report.md").write_text("# report", encoding="utf-8")
    write_status(sweep.directory, TrialState.FINISHED)
    TrialShipment(sweep, sink).advance()
    assert sink.only().state == "FINISHED"
    assert sink.only().artifacts == {"report.md": b"# report"}


def test_a_changed_report_is_uploaded_again(sink: MemorySink, sweep: TrialInfo) -> None:
    write_status(sweep.directory, TrialState.RUNNING)
    (sweep.directory / "report.md").write_text("first", encoding="utf-8")
    shipment = TrialShipment(sweep, sink)
    shipment.advance()
    (sweep.directory / "report.md").write_text("second one", encoding="utf-8")
    shipment.advance()
    assert sink.only().artifacts == {"report.md": b"second one"}


def test_what_is_refused_for_good_does_not_hold_up_the_rest(
    sink: MemorySink, trial: TrialInfo, step_metrics: MakeStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(run: str, metrics: list[StepMetrics]) -> None:
        raise DeliveryError("bad name", is_permanent=True)

    write_steps(trial, [step_metrics(1)])
    write_status(trial.directory, TrialState.KILLED)
    monkeypatch.setattr(sink, "log", refuse)
    TrialShipment(trial, sink).advance()
    assert sink.only().state == "KILLED"


def test_another_store_gets_everything_from_the_start(
    sink: MemorySink, trial: TrialInfo, step_metrics: MakeStep
) -> None:
    write_steps(trial, [step_metrics(1)])
    write_status(trial.directory, TrialState.KILLED)
    TrialShipment(trial, sink).advance()
    sink.store, sink.runs = "another server", {}
    TrialShipment(trial, sink).advance()
    assert shipped_steps(sink) == [1]
    assert sink.only().state == "KILLED"

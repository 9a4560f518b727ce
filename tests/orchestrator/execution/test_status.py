import json
from pathlib import Path

from orchestrator.execution.status import (
    TrialState,
    finished_report,
    read_status,
    trial_state,
    write_status,
)
from tests.orchestrator.execution.standin import make_report


def test_a_status_comes_back_as_written(tmp_path: Path) -> None:
    write_status(tmp_path, TrialState.FAILED, reason="why", launch_id="003", rejected=True)
    status = read_status(tmp_path)
    assert (status.state, status.reason, status.launch_id) == (TrialState.FAILED, "why", "003")
    assert status.rejected
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]


def test_a_missing_or_torn_status_is_pending(tmp_path: Path) -> None:
    assert read_status(tmp_path).state is TrialState.PENDING
    (tmp_path / "status.json").write_text('{"state": "RUN')
    assert read_status(tmp_path).state is TrialState.PENDING
    (tmp_path / "status.json").write_text('{"state": "DANCING"}')
    assert read_status(tmp_path).state is TrialState.PENDING


def test_only_a_valid_result_of_the_same_run_means_finished(tmp_path: Path) -> None:
    write_status(tmp_path, TrialState.FINISHED)
    assert trial_state(tmp_path, "a") is TrialState.PENDING
    result = tmp_path / "result.json"
    result.write_text(json.dumps(make_report("a").to_json()))
    assert trial_state(tmp_path, "a") is TrialState.FINISHED
    assert trial_state(tmp_path, "b") is TrialState.PENDING
    result.write_text(result.read_text()[:100])
    assert finished_report(tmp_path, "a") is None


def test_a_result_outweighs_a_killed_status(tmp_path: Path) -> None:
    write_status(tmp_path, TrialState.KILLED)
    assert trial_state(tmp_path, "a") is TrialState.KILLED
    (tmp_path / "result.json").write_text(json.dumps(make_report("a").to_json()))
    assert trial_state(tmp_path, "a") is TrialState.FINISHED

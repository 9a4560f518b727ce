import io
import json
import time
from pathlib import Path

import pytest
from rich.console import Console

from apt_core.errors import DataError
from orchestrator.execution.status import TrialState, write_status
from orchestrator.sweep_status import (
    SweepView,
    as_json,
    counts_line,
    members_of,
    reasons,
    status_table,
)
from tests.orchestrator.execution.standin import make_report

ENTRY = {"label": "apt 0.6 seed 1", "arm": "apt", "total_steps": 100}
NOW_MS = int(time.time() * 1000)
HOUR_MS = 3_600_000


def sweep_of(folder: Path, *run_ids: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    trials = {run_id: ENTRY for run_id in run_ids}
    (folder / "sweep.json").write_text(json.dumps({"run_ids": [*run_ids], "trials": trials}))
    return folder


def log(run_dir: Path, step: int, time_ms: int, **values: float) -> None:
    named = {name.replace("_", "/"): value for name, value in values.items()}
    with (run_dir / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": step, "time_ms": time_ms, "values": named}) + "\n")


def test_a_trial_that_runs_shows_what_it_logged_and_where_it_is(tmp_path: Path) -> None:
    run_dir = sweep_of(tmp_path, "a") / "trials" / "a"
    write_status(run_dir, TrialState.RUNNING, node="worker-7")
    log(run_dir, 10, NOW_MS + HOUR_MS, model_sparsity=0.25, train_loss=0.5)
    log(run_dir, 20, NOW_MS + HOUR_MS + 1_000, eval_metric=0.75)
    (row,) = SweepView(tmp_path).rows()
    assert (row.run_id, row.label, row.arm) == ("a", "apt 0.6 seed 1", "apt")
    assert (row.state, row.step, row.total_steps) == (TrialState.RUNNING, 20, 100)
    assert (row.sparsity, row.metric, row.loss, row.node) == (0.25, 0.75, 0.5, "worker-7")
    assert row.eta_s == 8.0  # 10 steps in 1 s, 80 to go


def test_what_an_earlier_launch_logged_does_not_slow_the_estimate(tmp_path: Path) -> None:
    run_dir = sweep_of(tmp_path, "a") / "trials" / "a"
    write_status(run_dir, TrialState.RUNNING)
    log(run_dir, 10, NOW_MS - HOUR_MS)
    view = SweepView(tmp_path)
    assert view.rows()[0].eta_s is None
    log(run_dir, 20, NOW_MS + HOUR_MS)
    log(run_dir, 30, NOW_MS + HOUR_MS + 1_000)
    assert view.rows()[0].eta_s == 7.0


def test_a_finished_trial_shows_its_result_and_nothing_left(tmp_path: Path) -> None:
    run_dir = sweep_of(tmp_path, "a", "b") / "trials" / "a"
    write_status(run_dir, TrialState.FINISHED, node="worker-7")
    (run_dir / "result.json").write_text(json.dumps(make_report("a").to_json()))
    done, waiting = SweepView(tmp_path).rows()
    assert (done.state, done.step, done.total_steps) == (TrialState.FINISHED, 6, 6)
    assert (done.metric, done.sparsity, done.eta_s) == (0.9, 0.0, None)
    assert (waiting.state, waiting.step, waiting.metric) == (TrialState.PENDING, 0, None)


def test_all_trials_are_a_table_a_count_and_plain_data(tmp_path: Path) -> None:
    sweep_of(tmp_path, "a", "b")
    write_status(tmp_path / "trials" / "b", TrialState.KILLED, reason="stopped by SIGTERM")
    view = SweepView(tmp_path)
    rows = view.rows()
    out = io.StringIO()
    Console(file=out, width=120).print(status_table(rows))
    assert "0/100" in out.getvalue()
    assert "killed" in out.getvalue()
    assert counts_line(rows) == "2 trials: 1 pending, 1 killed"
    assert counts_line(rows[:1]) == "1 trial: 1 pending"
    assert reasons(rows) == ["b: stopped by SIGTERM"]
    assert json.loads(json.dumps(as_json(rows)))[1]["state"] == "KILLED"
    assert view.status.state is TrialState.PENDING
    assert view.name == tmp_path.name


def test_a_sweep_of_an_earlier_version_shows_ids_for_labels(tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text(json.dumps({"run_ids": ["a"]}))
    assert members_of(tmp_path) == [("a", {})]
    assert SweepView(tmp_path).rows()[0].label == "a"


def test_a_folder_without_a_sweep_and_a_torn_one_are_the_users_to_mend(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="<results_dir>/<name>"):
        members_of(tmp_path)
    (tmp_path / "sweep.json").write_text('{"run_ids": [')
    with pytest.raises(DataError, match="cannot be read"):
        members_of(tmp_path)

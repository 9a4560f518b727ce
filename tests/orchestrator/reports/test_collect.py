import json
from pathlib import Path

import pytest

from apt_core.errors import DataError
from orchestrator.reports.collect import collect
from tests.orchestrator.reports.synthetic_sweep import (
    Trial,
    demo_trials,
    make_report,
    write_sweep,
    write_trial,
)


def test_a_finished_sweep_is_read_back_exactly(tmp_path: Path) -> None:
    trials = demo_trials()
    records = collect(write_sweep(tmp_path / "demo", trials))
    expected = {trial.run_id: make_report(trial).to_json() for trial in trials}
    assert {report.run_id: report.to_json() for report in records.reports} == expected
    assert (records.name, records.unfinished, records.warnings) == ("demo", (), ())


def test_a_failed_trial_keeps_its_reason_cell_and_last_step(tmp_path: Path) -> None:
    status = {"state": "FAILED", "reason": "OutOfMemoryError"}
    write_trial(tmp_path, Trial("apt", 0.6, 7), status=status, stop_at=42)
    (trial,) = collect(tmp_path).unfinished
    assert (trial.state, trial.seed, trial.last_step) == ("failed", 7, 40)
    assert trial.reason == "OutOfMemoryError (last log: step 40)"
    assert trial.cell is not None
    assert trial.cell.target_sparsity == 0.6


def test_a_crashed_sweep_says_running_or_crashed(tmp_path: Path) -> None:
    write_trial(tmp_path, Trial("lora"), status={"state": "RUNNING"}, stop_at=10)
    (trial,) = collect(tmp_path).unfinished
    assert trial.state == "running"
    assert "running or crashed (last log: step 10)" in trial.reason


def test_a_folder_with_only_a_config_is_pending(tmp_path: Path) -> None:
    folder = write_trial(tmp_path, Trial("lora"), status={"state": "RUNNING"})
    (folder / "status.json").unlink()
    (folder / "metrics.jsonl").unlink()
    (trial,) = collect(tmp_path).unfinished
    assert (trial.state, trial.last_step) == ("pending", None)


def test_finished_without_a_result_is_not_believed(tmp_path: Path) -> None:
    (write_trial(tmp_path, Trial("lora")) / "result.json").unlink()
    (trial,) = collect(tmp_path).unfinished
    assert trial.state == "unreadable"
    assert "result.json is missing" in trial.reason


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '"text"', "{}", '{"run_id": 1}', "\udcff", "null"]
)
def test_a_torn_result_costs_one_warning_and_leaves_the_others(
    tmp_path: Path, content: str
) -> None:
    write_trial(tmp_path, Trial("ft"))
    folder = write_trial(tmp_path, Trial("lora"))
    (folder / "result.json").write_text(content, errors="surrogateescape")
    records = collect(tmp_path)
    assert [report.arm for report in records.reports] == ["ft"]
    assert [trial.state for trial in records.unfinished] == ["unreadable"]
    assert len(records.warnings) == 1
    assert f"trials/{folder.name}/result.json" in records.warnings[0]


def test_a_result_whose_metric_is_no_number_is_not_a_result(tmp_path: Path) -> None:
    folder = write_trial(tmp_path, Trial("lora"))
    data = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps(data | {"metric": None}))
    records = collect(tmp_path)
    assert records.reports == ()
    assert "metric is None, not a number" in records.unfinished[0].reason


def test_torn_config_and_status_leave_a_trial_without_a_row(tmp_path: Path) -> None:
    folder = write_trial(tmp_path, Trial("lora"), status={"state": "FAILED"})
    (folder / "config.json").write_text('{"arm": "lo')
    (folder / "status.json").write_text("")
    records = collect(tmp_path)
    assert records.unfinished[0].cell is None
    assert any("config.json: cannot be read" in warning for warning in records.warnings)
    assert any("status.json: cannot be read" in warning for warning in records.warnings)


def test_torn_metric_lines_are_counted_and_the_rest_is_kept(tmp_path: Path) -> None:
    folder = write_trial(tmp_path, Trial("apt", 0.6), status={"state": "RUNNING"})
    path = folder / "metrics.jsonl"
    path.write_text(path.read_text() + '[1]\n{"step": 205, "valu')
    records = collect(tmp_path)
    assert records.warnings == (f"trials/{folder.name}/metrics.jsonl: 2 torn line(s) skipped.",)
    curves = records.curves[folder.name]
    assert curves.last_step == 200
    assert [point.step for point in curves.evals] == list(range(20, 201, 20))


def test_the_shape_keeps_first_and_last_step_of_each_level(tmp_path: Path) -> None:
    folder = write_trial(tmp_path, Trial("apt", 0.6))
    shape = collect(tmp_path).curves[folder.name].shape
    assert [point.step for point in shape] == [5, 60, 65, 80, 85, 100, 105, 120, 125, 200]
    assert [point.rank_mean for point in shape[::2]] == [8.0, 16.0, 24.0, 32.0, 40.0]


def test_files_beside_the_trials_are_ignored(tmp_path: Path) -> None:
    write_trial(tmp_path, Trial("ft"))
    (tmp_path / "trials" / "notes.txt").write_text("x")
    assert collect(tmp_path).num_trials == 1


def test_a_folder_that_is_no_sweep_is_refused_with_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no trials/ folder inside.*<results_dir>/<name>"):
        collect(tmp_path)


def test_only_the_trials_of_the_last_launch_are_read(tmp_path: Path) -> None:
    trials = demo_trials()
    sweep = write_sweep(tmp_path / "demo", trials)
    (sweep / "sweep.json").write_text(json.dumps({"run_ids": [trials[0].run_id]}))
    assert [report.run_id for report in collect(sweep).reports] == [trials[0].run_id]


def test_losses_of_long_runs_are_means_over_stretches(tmp_path: Path) -> None:
    folder = write_trial(tmp_path, Trial("lora"))
    lines = [
        json.dumps({"step": step, "time_ms": 0, "values": {"train/loss": float(step)}})
        for step in range(1, 251)
    ]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    (curves,) = collect(tmp_path).curves.values()
    # 250 points become 84 stretches of 3: 1, 2, 3 is told as 2 at step 3; 250 is alone.
    assert len(curves.losses) == 84
    assert curves.losses[0] == (3, 2.0)
    assert curves.losses[-1] == (250, 250.0)


def test_a_change_of_hidden_size_alone_is_a_point_of_the_shape(tmp_path: Path) -> None:
    folder = write_trial(tmp_path, Trial("lora"))
    lines = [
        json.dumps(
            {"step": i, "time_ms": 0, "values": {"model/sparsity": 0, "model/hidden_size": d}}
        )
        for i, d in enumerate((8, 8, 8, 4))
    ]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    (curves,) = collect(tmp_path).curves.values()
    assert [(p.step, p.hidden_size) for p in curves.shape] == [(0, 8.0), (2, 8.0), (3, 4.0)]

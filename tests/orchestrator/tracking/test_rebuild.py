import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from apt_core.errors import DataError
from apt_core.report import StepMetrics
from orchestrator.reports.collect import collect
from orchestrator.tracking.rebuild import rebuild_sweep
from orchestrator.tracking.source import TrackedRun
from tests.orchestrator.reports.synthetic_sweep import Trial, make_config, make_report

SWEEP = TrackedRun("s1", "5weep", "demo", "exp", "RUNNING", start_ms=1)
LINE = StepMetrics(5, 1, {"train/loss": 0.5})


@dataclass
class FolderSource:
    """A tracker in memory that counts what it is asked."""

    runs: dict[str, list[TrackedRun]] = field(default_factory=dict)
    """Sweep's run -> its trials."""
    launches: list[TrackedRun] = field(default_factory=lambda: [SWEEP])
    files: dict[tuple[str, str], str] = field(default_factory=dict)
    """(run, name) -> text."""
    calls: list[str] = field(default_factory=list)

    def sweeps(self, experiment: str | None = None) -> list[TrackedRun]:
        return [run for run in self.launches if experiment in (None, run.experiment)]

    def trials(self, sweep: TrackedRun) -> list[TrackedRun]:
        return self.runs.get(sweep.run, [])

    def download(self, run: TrackedRun, names: Sequence[str], folder: Path) -> frozenset[str]:
        self.calls.append(run.run)
        found = [name for name in names if (run.run, name) in self.files]
        for name in found:
            (folder / name).write_text(self.files[run.run, name])
        return frozenset(found)

    def history(self, run: TrackedRun) -> list[StepMetrics]:
        self.calls.append(f"history of {run.run}")
        return [LINE]

    def add(self, trial: Trial, state: str, *, sweep: str = "s1", **changes: Any) -> TrackedRun:
        run = TrackedRun(f"{sweep}-{trial.run_id}", trial.run_id, trial.arm, "exp", state)
        run = replace(run, **changes)
        self.runs.setdefault(sweep, []).append(run)
        self.files[run.run, "config.json"] = json.dumps(make_config(trial))
        self.files[run.run, "metrics.jsonl"] = json.dumps(LINE.to_json()) + "\n"
        if state == "FINISHED":
            self.files[run.run, "result.json"] = json.dumps(make_report(trial).to_json())
        return run

    def set_members(self, sweep: str, time_ms: int, *run_ids: str) -> None:
        text = json.dumps({"run_ids": run_ids, "time_ms": time_ms})
        self.files[sweep, "sweep.json"] = text


@pytest.fixture
def source() -> FolderSource:
    source = FolderSource()
    source.add(Trial("ft"), "FINISHED")
    source.add(Trial("apt", 0.6), "FAILED", reason="boom", end_ms=9)
    source.set_members("s1", 1, Trial("ft").run_id, Trial("apt", 0.6).run_id)
    return source


def test_an_ended_trial_asks_for_its_files_once_and_for_no_metric(
    source: FolderSource, tmp_path: Path
) -> None:
    for seed in range(50):
        source.add(Trial("lora", seed=seed), "FINISHED")
    source.set_members("s1", 1, *(run.run_id for run in source.runs["s1"]))
    assert collect(rebuild_sweep(source, "demo", tmp_path)).num_trials == 52
    assert sorted(source.calls) == sorted(["s1", *(run.run for run in source.runs["s1"])])


def test_states_and_reasons_are_told(source: FolderSource, tmp_path: Path) -> None:
    source.add(Trial("apt", 0.4), "KILLED", reason="stopped")
    source.add(Trial("apt", 0.3), "RUNNING", reason="of an earlier failure")
    source.set_members("s1", 1, *(run.run_id for run in source.runs["s1"]))
    records = collect(rebuild_sweep(source, "demo", tmp_path))
    assert records.warnings == ()
    assert {trial.reason for trial in records.unfinished} == {
        "boom (last log: step 5)",
        "stopped (last log: step 5)",
        "no result yet; running or crashed (last log: step 5)",
    }


def test_a_trial_that_runs_again_does_not_show_its_earlier_log(
    source: FolderSource, tmp_path: Path
) -> None:
    again = source.add(Trial("apt", 0.3), "RUNNING")
    source.files[again.run, "metrics.jsonl"] = ""
    source.set_members("s1", 1, again.run_id)
    records = collect(rebuild_sweep(source, "demo", tmp_path))
    assert records.curves[again.run_id].losses == ((5, 0.5),)


def test_what_is_not_on_the_server_is_said(source: FolderSource, tmp_path: Path) -> None:
    del source.files["s1-" + Trial("ft").run_id, "result.json"]
    source.set_members("s1", 1, Trial("ft").run_id, "pending0")
    records = collect(rebuild_sweep(source, "demo", tmp_path))
    assert records.reports == ()
    said = "\n".join(records.warnings)
    assert "1 of 2 trials are not on the tracking server" in said
    assert "not delivered: pending0." in said
    assert f"trials/{Trial('ft').run_id}: not on the tracking server: result.json." in said


def test_the_last_launch_says_which_trials_count_and_a_result_wins(
    source: FolderSource, tmp_path: Path
) -> None:
    source.launches = [replace(SWEEP, run="s2", start_ms=2), SWEEP]
    trial = Trial("apt", 0.6)
    source.add(trial, "FINISHED", sweep="s2", start_ms=2)
    source.set_members("s2", 2, trial.run_id)
    records = collect(rebuild_sweep(source, "demo", tmp_path))
    assert [report.run_id for report in records.reports] == [trial.run_id]
    # The first launch was repeated: its list counts, the other's result stays.
    source.set_members("s1", 3, trial.run_id, Trial("ft").run_id)
    records = collect(rebuild_sweep(source, "demo", tmp_path))
    assert {r.run_id for r in records.reports} == {trial.run_id, Trial("ft").run_id}


def test_without_a_list_all_trials_are_shown_and_it_is_said(
    source: FolderSource, tmp_path: Path
) -> None:
    del source.files["s1", "sweep.json"]
    records = collect(rebuild_sweep(source, "demo", tmp_path))
    assert records.num_trials == 2
    assert "which trials the last launch consisted of" in records.warnings[0]


def test_building_again_replaces_what_was_built(source: FolderSource, tmp_path: Path) -> None:
    folder = rebuild_sweep(source, "demo", tmp_path)
    source.set_members("s1", 2, Trial("ft").run_id)
    assert rebuild_sweep(source, "demo", tmp_path) == folder
    assert [path.name for path in (folder / "trials").iterdir()] == [Trial("ft").run_id]


@pytest.mark.parametrize("file", ["demo/config.json", "demo/trials/a/checkpoints"])
def test_a_folder_of_somebody_is_left_alone(
    source: FolderSource, tmp_path: Path, file: str
) -> None:
    if "trials" in file:
        rebuild_sweep(source, "demo", tmp_path)
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text("{}")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match=r"demo: holds something else.*--into"):
        rebuild_sweep(source, "demo", tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_unknown_name_lists_the_sweeps_there_are(source: FolderSource, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no sweep 'dmo' on the tracking server; there are: demo"):
        rebuild_sweep(source, "dmo", tmp_path)
    with pytest.raises(DataError, match=r"in experiment 'other' on .*; there are: none"):
        rebuild_sweep(source, "demo", tmp_path, experiment="other")


def test_ids_from_the_server_cannot_leave_the_folder(source: FolderSource, tmp_path: Path) -> None:
    source.runs["s1"].append(TrackedRun("x", "../../outside", "x", "exp", "FAILED"))
    source.launches.append(replace(SWEEP, name="../demo"))
    del source.files["s1", "sweep.json"]
    rebuild_sweep(source, "demo", tmp_path / "into")
    with pytest.raises(DataError, match="no sweep"):
        rebuild_sweep(source, "../demo", tmp_path / "into")
    assert [path.name for path in tmp_path.iterdir()] == ["into"]

"""The lines of single runs: all that a mean is made of, each beside its own baseline."""

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from apt_core.report import RunReport
from orchestrator.reports.collect import collect
from orchestrator.reports.records import SweepRecords
from orchestrator.reports.runs_csv import write_runs
from orchestrator.reports.tables import build_tables
from tests.orchestrator.reports.synthetic_sweep import (
    Trial,
    demo_trials,
    make_report,
    write_sweep,
    write_trial,
)

FULL = replace(
    make_report(Trial("apt", 0.6)),
    teacher_time_s=5.0,
    step_time_s={"tuning": 0.5, "retraining": 0.25},
    peak_memory_by_phase_gib={"tuning": 2.0},
)


def lines_of(folder: Path, records: SweepRecords) -> list[dict[str, object]]:
    write_runs(folder / "runs.csv", folder / "runs.parquet", build_tables(records))
    lines: list[dict[str, object]] = pq.read_table(folder / "runs.parquet").to_pylist()
    return lines


def records_of(*reports: RunReport) -> SweepRecords:
    return SweepRecords(name="demo", reports=reports)


def test_the_means_of_the_table_are_those_of_these_lines(tmp_path: Path) -> None:
    records = collect(write_sweep(tmp_path / "demo", demo_trials()))
    lines = lines_of(tmp_path, records)
    assert len(lines) == len(records.reports)
    (table,) = build_tables(records)
    for row in table.rows:
        own = [line for line in lines if line["run_id"] in row.run_ids]
        for name, stat in {
            "metric": row.metric,
            "sparsity": row.sparsity,
            "layer_params": row.num_layer_params,
            "train_time_s": row.train_time_s,
            "peak_train_memory_gib": row.peak_train_memory_gib,
            "speedup_batch_128": row.inference[128].speedup,
        }.items():
            assert [line[name] for line in own] == list(stat.values), name


def test_each_run_stands_beside_full_fine_tuning_of_its_seed(tmp_path: Path) -> None:
    ft = [replace(make_report(Trial("ft", seed=s)), train_time_s=10.0 * s) for s in (1, 2)]
    apt = [
        replace(make_report(Trial("apt", 0.6, seed=s)), train_time_s=20.0, teacher_time_s=4.0)
        for s in (1, 2, 3)
    ]
    lines = lines_of(tmp_path, records_of(*ft, *apt))
    assert [line["train_time_vs_ft"] for line in lines] == [1.0, 1.0, 2.4, 1.2, None]
    assert lines[3]["difference_to_ft"] == apt[1].metric - ft[1].metric
    assert lines[3]["memory_vs_ft"] == pytest.approx(
        apt[1].efficiency.peak_train_memory_gib / ft[1].efficiency.peak_train_memory_gib
    )
    assert (lines[4]["difference_to_ft"], lines[4]["memory_vs_ft"]) == (None, None)


def test_two_baselines_of_one_seed_are_none(tmp_path: Path) -> None:
    ft = make_report(Trial("ft"))
    twice = (ft, replace(ft, run_id="again"))
    lines = lines_of(tmp_path, records_of(*twice, make_report(Trial("apt", 0.6))))
    assert [line["train_time_vs_ft"] for line in lines] == [None, None, None]


def test_phases_and_batch_sizes_of_all_runs_are_columns(tmp_path: Path) -> None:
    bare = replace(make_report(Trial("lora")), step_time_s={}, peak_memory_by_phase_gib={})
    bare = replace(bare, efficiency=replace(bare.efficiency, inference=()))
    lora, apt = lines_of(tmp_path, records_of(FULL, bare))
    assert (apt["step_time_tuning_s"], apt["step_time_retraining_s"]) == (0.5, 0.25)
    assert (apt["peak_memory_tuning_gib"], apt["peak_memory_retraining_gib"]) == (2.0, None)
    assert apt["teacher_time_s"] == 5.0
    assert lora["step_time_tuning_s"] is None
    assert lora["latency_ms_batch_128"] is None
    assert apt["latency_ms_batch_128"] == FULL.efficiency.inference[-1].latency_ms


def test_unfinished_trials_are_no_runs(tmp_path: Path) -> None:
    write_trial(tmp_path, Trial("ft"))
    write_trial(tmp_path, Trial("apt", 0.6), status={"state": "FAILED", "reason": "boom"})
    assert [line["arm"] for line in lines_of(tmp_path, collect(tmp_path))] == ["ft"]


def test_a_sweep_without_a_run_has_no_lines(tmp_path: Path) -> None:
    assert lines_of(tmp_path, records_of()) == []
    assert (tmp_path / "runs.csv").read_text() == ""

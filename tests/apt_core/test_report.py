"""Reports survive JSON, with every nested value in its own type."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from apt_core.report import (
    RESULT_FORMAT,
    Efficiency,
    EvalPoint,
    InferencePoint,
    RunReport,
    StepMetrics,
)

POINT = InferencePoint(
    batch_size=32,
    latency_ms=20.0,
    throughput_samples_per_s=1600.0,
    peak_memory_gib=0.5,
    dense_latency_ms=50.0,
)
REPORT = RunReport(
    run_id="abc",
    name="demo",
    arm="apt",
    ablation="full",
    model="toy",
    dataset="sst2",
    seed=1,
    target_sparsity=0.6,
    sparsity=0.625,
    metric_name="accuracy",
    metric=0.9,
    metrics={"eval/accuracy": 0.9},
    total_steps=7,
    train_time_s=1.5,
    eval_time_s=0.5,
    efficiency=Efficiency(1, 2, 3, 4, 0.25, (POINT, replace(POINT, batch_size=128))),
    history=(EvalPoint(5, 1.0, 0.2, 0.8, 0.3), EvalPoint(7, 1.5, 0.5, 0.9, 0.625)),
    surgeries=({"step": 5, "heads": [1, 2]},),
    structure={"hidden_size": 8},
    environment={"torch": "2"},
    command="aptune train",
    warnings=("slow",),
    step_time_s={"pruning": 0.1},
)


def test_a_report_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(REPORT.to_json()), encoding="utf-8")
    assert RunReport.load(path) == REPORT


def test_a_report_from_before_generation_was_measured_is_read() -> None:
    data = REPORT.to_json()
    old = [
        {name: value for name, value in point.items() if "generated" not in name}
        for point in data["efficiency"]["inference"]
    ]
    assert len(old[0]) < len(data["efficiency"]["inference"][0])
    data["efficiency"]["inference"] = old
    assert RunReport.from_json(data) == REPORT


def test_the_speed_of_generation_survives_json() -> None:
    point = replace(POINT, generated_tokens_per_s=50.0, dense_generated_tokens_per_s=20.0)
    report = replace(REPORT, efficiency=replace(REPORT.efficiency, inference=(point,)))
    assert RunReport.from_json(json.loads(json.dumps(report.to_json()))) == report


def test_a_report_without_optional_parts_survives_too() -> None:
    bare = replace(
        REPORT, efficiency=Efficiency(1, 2, 3, 4, 0.25), history=(), surgeries=(), warnings=()
    )
    assert RunReport.from_json(json.loads(json.dumps(bare.to_json()))) == bare


def test_reading_a_report_leaves_the_data_as_it_was() -> None:
    data = json.loads(json.dumps(REPORT.to_json()))
    before = json.dumps(data)
    RunReport.from_json(data)
    assert json.dumps(data) == before


def test_the_format_is_part_of_the_file() -> None:
    assert REPORT.to_json()["format"] == RESULT_FORMAT == 1


def test_density_and_speedup_follow_from_what_is_stored() -> None:
    assert REPORT.density == 0.375
    assert POINT.speedup == pytest.approx(2.5)


def test_what_the_target_counts_is_parameters_unless_a_report_says_otherwise() -> None:
    assert REPORT.cost_sparsity == REPORT.sparsity
    macs = replace(REPORT, cost_unit="MACs", cost=30.0, dense_cost=40.0)
    assert macs.cost_sparsity == 0.25
    assert RunReport.from_json(json.loads(json.dumps(macs.to_json()))) == macs
    old = {name: value for name, value in REPORT.to_json().items() if "cost" not in name}
    assert RunReport.from_json(old) == REPORT


def test_a_line_of_metrics_is_flat() -> None:
    line = StepMetrics(3, 1_700_000_000_000, {"train/loss": 0.5}).to_json()
    assert line == {"step": 3, "time_ms": 1_700_000_000_000, "values": {"train/loss": 0.5}}

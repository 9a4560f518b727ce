import json
import statistics
from dataclasses import replace
from pathlib import Path

import pytest

from apt_core.report import RunReport
from orchestrator.reports.collect import collect
from orchestrator.reports.records import SweepRecords
from orchestrator.reports.rows import Row, TaskTable, label_of
from orchestrator.reports.settings import flatten
from orchestrator.reports.tables import build_tables
from tests.orchestrator.reports.synthetic_sweep import (
    Trial,
    demo_trials,
    make_config,
    make_report,
    write_sweep,
    write_trial,
)


def only_table(*reports: RunReport) -> TaskTable:
    (table,) = build_tables(SweepRecords("sweep", tuple(reports)))
    return table


def row_of(table: TaskTable, label: str) -> Row:
    return {label_of(row.key): row for row in table.rows}[label]


def test_rows_stand_in_the_order_of_the_report(tmp_path: Path) -> None:
    (table,) = build_tables(collect(write_sweep(tmp_path, demo_trials())))
    assert [label_of(row.key) for row in table.rows] == [
        "ft",
        "lora",
        "apt 40%",
        "apt 60%",
        "apt w/o_Ap",
        "apt w/o_AT 60%",
        "apt w/o_Ds 60%",
    ]


def test_every_number_agrees_with_the_result_files(tmp_path: Path) -> None:
    (table,) = build_tables(collect(write_sweep(tmp_path, demo_trials())))
    files = [json.loads(path.read_text()) for path in tmp_path.glob("trials/*/result.json")]
    ft = statistics.mean(f["metric"] for f in files if f["arm"] == "ft")
    mine = [
        f for f in files if (f["arm"], f["ablation"], f["target_sparsity"]) == ("apt", "full", 0.6)
    ]
    row = row_of(table, "apt 60%")
    metrics = [f["metric"] for f in mine]

    def mean(read: str) -> float:
        return statistics.mean(float(f["efficiency"][read]) for f in mine)

    assert len(mine) == row.metric.n == 3
    assert row.metric.mean == pytest.approx(statistics.mean(metrics), rel=1e-12)
    assert row.metric.std == pytest.approx(statistics.stdev(metrics), rel=1e-9)
    assert row.sparsity.mean == pytest.approx(statistics.mean(f["sparsity"] for f in mine))
    assert row.ratio_to_baseline == pytest.approx(statistics.mean(metrics) / ft, rel=1e-12)
    assert row.difference_to_baseline == pytest.approx(statistics.mean(metrics) - ft, rel=1e-9)
    assert row.num_layer_params.mean == pytest.approx(mean("num_layer_params"))
    assert row.num_total_params.mean == pytest.approx(mean("num_total_params"))
    assert row.peak_train_memory_gib.mean == pytest.approx(mean("peak_train_memory_gib"))
    assert row.train_time_s.mean == pytest.approx(statistics.mean(f["train_time_s"] for f in mine))
    ratios = [f["step_time_s"]["retraining"] / f["step_time_s"]["tuning"] for f in mine]
    assert row.step_time_ratio.mean == pytest.approx(statistics.mean(ratios))
    for index, size in enumerate((32, 128)):
        points = [f["efficiency"]["inference"][index] for f in mine]
        speedups = [p["dense_latency_ms"] / p["latency_ms"] for p in points]
        assert row.inference[size].speedup.mean == pytest.approx(statistics.mean(speedups))


def test_under_another_constraint_the_final_sparsity_is_the_one_to_be_reached() -> None:
    ft = make_report(Trial("ft"))
    apt = make_report(Trial("apt", 0.6))
    half = replace(
        apt,
        sparsity=0.5,
        history=tuple(replace(p, sparsity=min(p.sparsity, 0.5), metric=1.0) for p in apt.history),
    )
    as_params = row_of(only_table(ft, half), "apt 60%").time_to_target
    macs = replace(half, cost_unit="MACs", cost=0.4, dense_cost=1.0)
    as_macs = row_of(only_table(ft, macs), "apt 60%").time_to_target
    assert as_params is not None
    assert as_macs is not None
    assert (as_params.num_reached, as_macs.num_reached) == (0, 1)
    first = next(p for p in half.history if p.sparsity >= 0.5 - 0.01)
    assert as_macs.seconds.mean == first.train_time_s


def test_time_to_target_agrees_with_a_search_by_hand(tmp_path: Path) -> None:
    (table,) = build_tables(collect(write_sweep(tmp_path, demo_trials())))
    files = [json.loads(path.read_text()) for path in tmp_path.glob("trials/*/result.json")]
    bests = [max(p["metric"] for p in f["history"]) for f in files if f["arm"] == "ft"]
    target = 0.97 * statistics.mean(bests)
    first = []
    for f in files:
        if (f["arm"], f["target_sparsity"], f["ablation"]) == ("apt", 0.4, "full"):
            good = [
                p for p in f["history"] if p["sparsity"] >= 0.39 and round(p["metric"], 3) >= target
            ]
            first.append(good[0])
    reached = row_of(table, "apt 40%").time_to_target
    assert reached is not None
    assert (reached.num_reached, reached.num_runs) == (3, 3)
    without = statistics.mean(p["train_time_s"] for p in first)
    with_eval = statistics.mean(p["train_time_s"] + p["eval_time_s"] for p in first)
    assert reached.seconds.mean == pytest.approx(without)
    assert reached.seconds_with_eval.mean == pytest.approx(with_eval)
    assert list(table.target_metrics) == pytest.approx([target])


def test_a_good_metric_before_the_target_sparsity_does_not_count() -> None:
    report = make_report(Trial("apt", 0.6))
    dense = tuple(replace(point, sparsity=0.5) for point in report.history)
    table = only_table(make_report(Trial("ft")), replace(report, history=dense))
    reached = row_of(table, "apt 60%").time_to_target
    assert reached is not None
    assert (reached.num_reached, reached.num_runs, reached.seconds.mean) == (0, 1, None)


def test_without_full_fine_tuning_nothing_is_relative() -> None:
    (row,) = only_table(make_report(Trial("apt", 0.6))).rows
    assert (row.has_baseline, row.ratio_to_baseline, row.time_to_target) == (False, None, None)


def test_a_baseline_of_another_dataset_does_not_serve() -> None:
    reports = (make_report(Trial("ft", dataset="rte")), make_report(Trial("lora")))
    tables = build_tables(SweepRecords("sweep", reports))
    assert [table.title for table in tables] == ["roberta on rte", "roberta on sst2"]
    assert tables[1].rows[0].has_baseline is False


def test_a_cell_whose_only_trial_failed_is_a_row(tmp_path: Path) -> None:
    write_trial(tmp_path, Trial("ft"))
    write_trial(tmp_path, Trial("apt", 0.6), status={"state": "FAILED", "reason": "boom"})
    (table,) = build_tables(collect(tmp_path))
    row = row_of(table, "apt 60%")
    assert (row.state, row.metric.n, row.num_trials) == ("failed", 0, 1)
    assert row.has_baseline is False


def test_runs_with_another_learning_rate_are_no_seeds_of_one_cell() -> None:
    trials = [Trial("apt", 0.6, seed) for seed in (1, 2)]
    settings = {
        trial.run_id: flatten(make_config(trial, training__learning_rate=rate))
        for trial, rate in zip(trials, (1e-4, 2e-4), strict=True)
    }
    reports = tuple(make_report(trial) for trial in trials)
    (table,) = build_tables(SweepRecords("sweep", reports, settings=settings))
    assert [label_of(row.key) for row in table.rows] == [
        "apt 60% learning_rate=0.0001",
        "apt 60% learning_rate=0.0002",
    ]


def test_of_several_baselines_the_one_with_the_same_setting_is_taken() -> None:
    trials = [
        Trial("ft", seed=1),
        Trial("ft", seed=2),
        Trial("lora", seed=1),
        Trial("lora", seed=2),
    ]
    rates = (1e-4, 2e-4, 1e-4, 3e-4)
    settings = {
        trial.run_id: flatten(make_config(trial, training__learning_rate=rate))
        for trial, rate in zip(trials, rates, strict=True)
    }
    reports = tuple(make_report(trial) for trial in trials)
    (table,) = build_tables(SweepRecords("sweep", reports, settings=settings))
    same, other = table.rows[2:]
    assert same.ratio_to_baseline == pytest.approx(reports[2].metric / reports[0].metric)
    assert (label_of(other.key), other.has_baseline) == ("lora learning_rate=0.0003", False)


def test_w_o_ap_runs_with_different_unused_targets_are_one_cell() -> None:
    reports = [make_report(Trial("apt", s, ablation="w/o_Ap")) for s in (0.4, 0.6)]
    (row,) = only_table(*reports).rows
    assert (row.metric.n, row.key.target_sparsity) == (2, 0.0)


def test_a_run_without_evaluations_has_no_time_to_target() -> None:
    table = only_table(make_report(Trial("ft")), make_report(Trial("lora"), history=()))
    row = row_of(table, "lora")
    assert (row.has_baseline, row.time_to_target) == (True, None)


def test_a_run_without_step_times_has_no_ratio() -> None:
    (row,) = only_table(make_report(Trial("ft"), step_time_s={"tuning": 0.1})).rows
    assert row.step_time_ratio.n == 0


def test_an_empty_sweep_has_no_tables() -> None:
    assert build_tables(SweepRecords("sweep")) == ()


def test_the_time_of_an_outside_teacher_is_charged_to_the_run_that_it_taught() -> None:
    ft, taught = make_report(Trial("ft")), Trial("apt", 0.6, ablation="ft_teacher")
    alone = row_of(only_table(ft, make_report(taught, metric=ft.metric)), "apt ft_teacher 60%")
    charged = row_of(
        only_table(ft, make_report(taught, metric=ft.metric, teacher_time_s=100.0)),
        "apt ft_teacher 60%",
    )
    assert alone.train_time_s.mean is not None
    assert charged.train_time_s.mean == pytest.approx(alone.train_time_s.mean + 100)
    assert charged.teacher_time_s.mean == 100
    assert alone.teacher_time_s.mean is None


def test_the_time_to_accuracy_includes_the_teacher() -> None:
    ft, taught = make_report(Trial("ft")), Trial("apt", 0.6, ablation="ft_teacher")
    history = tuple(replace(point, sparsity=0.6) for point in ft.history)
    rows = [
        row_of(
            only_table(ft, make_report(taught, history=history, teacher_time_s=seconds)),
            "apt ft_teacher 60%",
        )
        for seconds in (0.0, 100.0)
    ]
    alone, charged = (row.time_to_target for row in rows)
    assert alone is not None
    assert charged is not None
    for name in ("seconds", "seconds_with_eval"):
        (before,), (after,) = getattr(alone, name).values, getattr(charged, name).values
        assert after == pytest.approx(before + 100)


def test_memory_by_phase_is_averaged_over_the_runs_that_tell_it() -> None:
    told = [
        make_report(Trial("ft", seed=seed), peak_memory_by_phase_gib=phases)
        for seed, phases in ((1, {"tuning": 1.0, "pruning": 2.0}), (2, {"tuning": 3.0}))
    ]
    (row,) = only_table(*told, make_report(Trial("ft", seed=3))).rows
    phases = row.peak_memory_by_phase_gib
    assert {name: stat.values for name, stat in phases.items()} == {
        "tuning": (1.0, 3.0),
        "pruning": (2.0,),
    }

from dataclasses import replace

import pytest

from orchestrator.reports import tradeoffs
from orchestrator.reports.panels import Panel
from orchestrator.reports.records import SweepRecords
from orchestrator.reports.series import Line
from orchestrator.reports.settings import flatten
from orchestrator.reports.tables import build_tables
from tests.orchestrator.reports.synthetic_sweep import Trial, make_config, make_report
from tests.orchestrator.reports.test_series import table_and_curves


def test_points_carry_the_interval_of_three_seeds_and_the_range_of_two() -> None:
    trials = [Trial("ft", seed=s) for s in (1, 2)] + [Trial("lora", seed=s) for s in (1, 2, 3)]
    table, _ = table_and_curves(*trials)
    ft, lora = tradeoffs.metric_vs_sparsity(table)
    metric = table.rows[0].metric.scaled(100)
    assert (ft.lows[0], ft.highs[0]) == metric.min_max
    metric = table.rows[1].metric.scaled(100)
    assert (lora.lows[0], lora.highs[0]) == metric.interval_95
    assert lora.lows[0] < lora.ys[0] < lora.highs[0]


def test_one_method_at_two_sparsities_is_one_group_and_its_ablation_another() -> None:
    table, _ = table_and_curves(
        Trial("apt", 0.4), Trial("apt", 0.6), Trial("apt", 0.6, ablation="w/o_Ds")
    )
    groups = [line.group for line in tradeoffs.metric_vs_speedup(table, 32)]
    assert groups[0] == groups[1] != groups[2]


def test_a_batch_size_that_nobody_measured_has_no_points() -> None:
    table, _ = table_and_curves(Trial("ft"))
    assert tradeoffs.metric_vs_speedup(table, 7) == []


def test_inference_memory_is_that_of_the_batch_size() -> None:
    table, _ = table_and_curves(Trial("apt", 0.6))
    (line,) = tradeoffs.metric_vs_inference_memory(table, 32)
    (run,) = table.rows[0].runs
    assert line.xs == (run.efficiency.inference[0].peak_memory_gib,)
    assert line.ys == (100 * run.metric,)


def test_training_speed_is_the_baselines_time_over_the_rows_own() -> None:
    table, _ = table_and_curves(Trial("ft"), Trial("lora"), Trial("apt", 0.8))
    ft, lora = tradeoffs.metric_vs_training_speed(table)
    # At 80% the metric never comes within 97% of FT's: there is no time, so there is no point.
    assert (ft.label, lora.label) == ("ft", "lora")
    assert [tradeoffs.arrives(row) for row in table.rows] == [True, True, False]
    times = [tradeoffs.time_to_target(row) for row in table.rows]
    assert times[0] is not None
    assert times[1] is not None
    assert (ft.xs, lora.xs) == ((1.0,), (times[0] / times[1],))


def test_without_a_baseline_there_is_no_training_speed_and_no_level() -> None:
    table, _ = table_and_curves(Trial("lora"))
    assert tradeoffs.metric_vs_training_speed(table) == []
    assert tradeoffs.baseline_level(table) is None
    assert len(tradeoffs.metric_vs_training_memory(table)) == 1


def test_the_level_is_the_baselines_metric_as_it_is_shown() -> None:
    table, _ = table_and_curves(Trial("ft"), Trial("lora"))
    assert tradeoffs.baseline_level(table) == pytest.approx(100 * table.rows[0].runs[0].metric)


def test_parameters_are_shown_in_millions() -> None:
    table, _ = table_and_curves(Trial("ft"))
    (line,) = tradeoffs.metric_vs_layer_params(table)
    assert line.xs == pytest.approx((85.054464,))


def test_the_rank_study_joins_the_ranks_of_one_method_and_leaves_out_the_others() -> None:
    trials = [Trial("ft"), Trial("lora"), Trial("apt", 0.6, 1), Trial("apt", 0.6, 2)]
    reports = [make_report(trial) for trial in trials]
    ranks = [8, 8, 8, 64]
    configs = [
        make_config(trial, training__initial_rank=rank)
        for trial, rank in zip(trials, ranks, strict=True)
    ]
    settings = {r.run_id: flatten(c) for r, c in zip(reports, configs, strict=True)}
    (table,) = build_tables(SweepRecords("s", tuple(reports), settings=settings))
    lines = tradeoffs.metric_vs_rank(table, settings)
    assert [line.xs for line in lines] == [(8.0,), (64.0,)]
    assert {line.group for line in lines} == {"apt 60%"}
    assert [line.ys[0] for line in lines] == [100 * report.metric for report in reports[2:]]


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([], ()),
        ([(1, 1)], ((1, 1),)),
        ([(1, 3), (2, 2), (3, 1)], ((1, 3), (2, 2), (3, 1))),
        ([(1, 1), (2, 2)], ((2, 2),)),
        ([(1, 2), (2, 2), (2, 1)], ((2, 2),)),
        ([(2, 2), (2, 2), (1, 5), (1, 4)], ((1, 5), (2, 2))),
    ],
)
def test_the_front_is_what_nothing_beats(
    points: list[tuple[float, float]], front: tuple[tuple[float, float], ...]
) -> None:
    assert tradeoffs.pareto_front(points) == front
    slow = {p for p in points if not any(q != p and q[0] >= p[0] and q[1] >= p[1] for q in points)}
    assert set(front) == slow


def test_where_x_is_a_cost_less_of_it_is_better() -> None:
    lines = [Line(str(x), "", (x,), (y,)) for x, y in ((10.0, 90.0), (20.0, 89.0), (30.0, 95.0))]
    panel = Panel(lines, "x", "y", "points")
    less = tradeoffs.with_front(panel, is_more_better=False)
    assert less == replace(panel, front=((10.0, 90.0), (30.0, 95.0)))
    assert tradeoffs.with_front(panel, is_more_better=True).front == ((30.0, 95.0),)

import pytest

from orchestrator.reports import series
from orchestrator.reports.records import Curves, ShapePoint, SweepRecords
from orchestrator.reports.rows import TaskTable
from orchestrator.reports.series import Line
from orchestrator.reports.tables import build_tables
from tests.orchestrator.reports.synthetic_sweep import Trial, make_report


def table_and_curves(*trials: Trial) -> tuple[TaskTable, dict[str, Curves]]:
    reports = tuple(make_report(trial) for trial in trials)
    curves = {report.run_id: Curves(report.history) for report in reports}
    (table,) = build_tables(SweepRecords("sweep", reports))
    return table, curves


@pytest.mark.parametrize(("x", "y"), [(0, 10), (5, 15), (10, 20), (15, 10), (21, None), (-1, None)])
def test_interpolation_is_linear_between_points_and_silent_outside(
    x: float, y: float | None
) -> None:
    assert series.interpolate([0, 10, 20], [10, 20, 0], x) == y


def test_the_metric_is_drawn_over_training_time_with_surgeries_on_the_line() -> None:
    table, curves = table_and_curves(Trial("apt", 0.6))
    (line,) = series.metric_over_time(table, curves)
    history = table.rows[0].runs[0].history
    assert line.xs == tuple(point.train_time_s for point in history)
    assert line.ys == pytest.approx([100 * point.metric for point in history])
    assert [x for x, _ in line.marks] == pytest.approx([0.12 * step for step in (65, 85, 105, 125)])
    assert all(min(line.ys) < y < max(line.ys) for _, y in line.marks)


def test_points_carry_std_for_three_seeds_and_the_range_for_two() -> None:
    trials = [Trial("ft", seed=s) for s in (1, 2)] + [Trial("lora", seed=s) for s in (1, 2, 3)]
    table, _ = table_and_curves(*trials)
    ft, lora = series.metric_vs_sparsity(table)
    metric = table.rows[0].metric.scaled(100)
    assert (ft.lows[0], ft.highs[0]) == metric.min_max
    metric = table.rows[1].metric.scaled(100)
    assert metric.std is not None
    assert lora.highs[0] - lora.ys[0] == pytest.approx(metric.std)
    assert lora.ys[0] - lora.lows[0] == pytest.approx(metric.std)


def test_one_method_at_two_sparsities_is_one_group_and_its_ablation_another() -> None:
    table, _ = table_and_curves(
        Trial("apt", 0.4), Trial("apt", 0.6), Trial("apt", 0.6, ablation="w/o_Ds")
    )
    groups = [line.group for line in series.metric_vs_speedup(table, 32)]
    assert groups[0] == groups[1] != groups[2]


def test_a_batch_size_that_nobody_measured_has_no_points() -> None:
    table, _ = table_and_curves(Trial("ft"))
    assert series.metric_vs_speedup(table, 7) == []


def test_arms_without_adapters_have_no_rank_line() -> None:
    table, _ = table_and_curves(Trial("ft"), Trial("lora"))
    ft, lora = (row.runs[0].run_id for row in table.rows)
    curves = {
        ft: Curves(shape=(ShapePoint(1, 0.0, None), ShapePoint(2, 0.0, 0.0))),
        lora: Curves(shape=(ShapePoint(1, 0.0, 8.0),)),
    }
    assert [line.label for line in series.rank_over_steps(table, curves)] == ["lora"]
    sparsity_lines = series.sparsity_over_steps(table, curves)
    assert [line.label for line in sparsity_lines] == ["ft", "lora"]


def test_the_mean_line_leaves_out_runs_that_stopped_early() -> None:
    lines = [
        Line("a", "1", (1.0, 2.0), (10.0, 20.0)),
        Line("a", "2", (3.0, 4.0), (30.0, 40.0)),
        Line("a", "3", (100.0,), (0.0,)),
    ]
    (mean,) = series.mean_lines(lines)
    assert (mean.xs, mean.ys) == ((2.0, 3.0), (20.0, 30.0))

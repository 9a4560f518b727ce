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


def test_loss_and_hidden_size_are_lines_of_the_runs_that_log_them() -> None:
    table, _ = table_and_curves(Trial("ft"), Trial("lora"))
    ft, lora = (row.runs[0].run_id for row in table.rows)
    curves = {
        ft: Curves(shape=(ShapePoint(1, 0.0, None, 768.0), ShapePoint(2, 0.0, None, 700.0))),
        lora: Curves(losses=((5, 0.5), (10, 0.25))),
    }
    (loss,) = series.loss_over_steps(table, curves)
    assert (loss.label, loss.xs, loss.ys) == ("lora", (5.0, 10.0), (0.5, 0.25))
    (size,) = series.hidden_size_over_steps(table, curves)
    assert (size.label, size.xs, size.ys) == ("ft", (1.0, 2.0), (768.0, 700.0))


def test_the_mean_line_leaves_out_runs_that_stopped_early() -> None:
    lines = [
        Line("a", "1", (1.0, 2.0), (10.0, 20.0)),
        Line("a", "2", (3.0, 4.0), (30.0, 40.0)),
        Line("a", "3", (100.0,), (0.0,)),
    ]
    (mean,) = series.mean_lines(lines)
    assert (mean.xs, mean.ys) == ((2.0, 3.0), (20.0, 30.0))

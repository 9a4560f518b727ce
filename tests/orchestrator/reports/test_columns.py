from dataclasses import replace

import pytest

from apt_core.report import RunReport
from orchestrator.reports.columns import detail_columns, grid_of, headline_columns
from orchestrator.reports.records import SweepRecords
from orchestrator.reports.rows import TaskTable
from orchestrator.reports.stat import Stat
from orchestrator.reports.tables import build_tables
from tests.orchestrator.reports.synthetic_sweep import Trial, demo_trials, make_report


def only_table(*reports: RunReport) -> TaskTable:
    (table,) = build_tables(SweepRecords("sweep", reports))
    return table


def texts(table: TaskTable, row: int) -> dict[str, str]:
    columns = (*headline_columns(table), *detail_columns(table))
    return {column.heading: column.fill(table.rows[row]).text for column in columns}


def test_every_cell_of_a_grid_knows_its_runs_and_its_place() -> None:
    table = only_table(*(make_report(trial) for trial in demo_trials()))
    grid = grid_of(headline_columns(table), table.rows, name="results", title="Results")
    for row, cells in zip(table.rows, grid.rows, strict=True):
        assert all(cell.run_ids == row.run_ids != () for cell in cells)
        assert {cell.anchor for cell in cells} == {row.anchor}
    assert (grid.name, grid.title, len(grid.columns)) == ("results", "Results", len(grid.rows[0]))


def test_the_table_says_whether_a_difference_is_noise() -> None:
    ft = [make_report(Trial("ft", seed=s), metric=0.9 + 0.001 * s) for s in (1, 2, 3)]
    clear = [make_report(Trial("lora", seed=s), metric=0.88 + 0.001 * s) for s in (1, 2, 3)]
    noise = [make_report(Trial("apt", 0.6, s), metric=0.9 + 0.002 * s) for s in (1, 2, 3)]
    table = only_table(*ft, *clear, *(replace(run, metric=run.metric - 0.004) for run in noise))
    found = [texts(table, row)["vs FT, seed by seed"] for row in range(3)]
    assert found[0] == "baseline"
    assert found[1] == "-2.00 [-2.00, -2.00], t: p<0.001, n=3: lower"
    # Differences -0.3, -0.2, -0.1: mean -0.2, s = 0.1, t = -3.46, p = 0.074.
    assert found[2] == "-0.20 [-0.28, -0.12], t: p=0.074, n=3: within noise"


def test_one_seed_makes_no_claim() -> None:
    table = only_table(make_report(Trial("ft"), metric=0.9), make_report(Trial("lora"), metric=0.8))
    assert texts(table, 1)["vs FT, seed by seed"] == "-10.00: one seed, no claim"
    table = only_table(make_report(Trial("ft", seed=1)), make_report(Trial("lora", seed=2)))
    assert texts(table, 1)["vs FT, seed by seed"] == "no common seed"


def test_memory_is_given_relative_to_ft_and_lora() -> None:
    def using(arm: str, gib: float) -> RunReport:
        run = make_report(Trial(arm, 0.6 if arm == "apt" else 0.0))
        return replace(run, efficiency=replace(run.efficiency, peak_train_memory_gib=gib))

    table = only_table(using("ft", 4.0), using("lora", 2.0), using("apt", 3.0))
    found = [
        (texts(table, row)["memory vs FT"], texts(table, row)["memory vs LoRA"]) for row in range(3)
    ]
    assert found == [("100.0%", "200.0%"), ("50.0%", "100.0%"), ("75.0%", "150.0%")]
    alone = texts(only_table(using("apt", 3.0)), 0)
    assert (alone["memory vs FT"], alone["memory vs LoRA"]) == ("not measured", "not measured")


def test_the_density_at_97_percent_is_told() -> None:
    ft, apt = make_report(Trial("ft")), make_report(Trial("apt", 0.6))
    # Good enough at once, at full density; sparse enough at the end only.
    good = tuple(replace(point, metric=1.0) for point in apt.history)
    table = only_table(ft, replace(apt, history=good))
    found = texts(table, 1)
    assert found["97% of FT first reached"] == "2.4 s, density 100.0%, above the target"
    reached = table.rows[1].time_to_target
    assert reached is not None
    assert (reached.num_at_target_density, reached.num_reached) == (0, 1)
    at_last = tuple(replace(p, metric=0.1) for p in good[:-1]) + good[-1:]
    late = texts(only_table(ft, replace(apt, history=at_last)), 1)["97% of FT first reached"]
    assert late.startswith("24.0 s, density 39.")
    assert late.endswith("at the target")


def test_the_teachers_time_has_its_own_column() -> None:
    taught = make_report(Trial("apt", 0.6, ablation="ft_teacher"), teacher_time_s=100.0)
    table = only_table(make_report(Trial("ft")), taught)
    assert texts(table, 0)["teacher time charged"] == "no outside teacher"
    assert texts(table, 1)["teacher time charged"] == "1.7 min"


def test_memory_by_phase_has_columns_where_any_run_told_it() -> None:
    table = only_table(make_report(Trial("ft")), make_report(Trial("lora")))
    assert not any("peak memory, " in column.heading for column in detail_columns(table))
    told = replace(table.rows[1], peak_memory_by_phase_gib={"pruning": Stat((1.0, 2.0))})
    table = TaskTable("roberta", "sst2", (table.rows[0], told))
    assert texts(table, 0)["peak memory, pruning"] == "not measured"
    assert texts(table, 1)["peak memory, pruning"] == "1.50 GiB"


@pytest.mark.parametrize("columns", [headline_columns, detail_columns])
def test_headings_are_unique(columns: object) -> None:
    assert callable(columns)
    table = only_table(*(make_report(trial) for trial in demo_trials()))
    headings = [column.heading for column in columns(table)]
    assert len(headings) == len(set(headings))

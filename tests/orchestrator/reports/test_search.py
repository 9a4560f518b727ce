"""A search shows its best try, by the held-out rows and not by what is reported."""

from dataclasses import replace

import pytest

from apt_core.report import RunReport
from orchestrator.reports.columns import detail_columns
from orchestrator.reports.records import SweepRecords, UnfinishedTrial, cell_of_report
from orchestrator.reports.rows import TaskTable, label_of
from orchestrator.reports.tables import build_tables
from orchestrator.reports.wording import search_cell
from tests.orchestrator.reports.synthetic_sweep import Trial, make_report

RATE = "training.learning_rate"
SEARCHED = {"orchestration.searched": [RATE]}


def tried(trial: Trial, rate: float, held_out: float | None, metric: float) -> RunReport:
    run_id = f"{trial.run_id}-{rate}"
    return make_report(trial, run_id=run_id, held_out_metric=held_out, metric=metric)


def table_of(*runs: RunReport, unfinished: tuple[UnfinishedTrial, ...] = ()) -> TaskTable:
    ids = [run.run_id for run in runs] + [trial.run_id for trial in unfinished]
    settings = {i: {**SEARCHED, RATE: float(i.rpartition("-")[2])} for i in ids}
    (table,) = build_tables(SweepRecords("sweep", runs, unfinished, settings=settings))
    return table


def test_the_best_on_held_out_rows_stands_for_its_cell() -> None:
    apt, ft = Trial("apt", 0.6), Trial("ft")
    table = table_of(
        tried(apt, 0.1, held_out=0.8, metric=0.9),
        tried(apt, 0.2, held_out=0.9, metric=0.7),
        tried(ft, 0.1, held_out=0.9, metric=0.8),
        tried(ft, 0.2, held_out=0.8, metric=0.95),
    )
    assert [label_of(row.key) for row in table.rows] == ["ft", "apt 60%"]
    assert [row.metric.mean for row in table.rows] == [0.8, 0.7]
    assert [row.searched for row in table.rows] == [((RATE, "0.1"),), ((RATE, "0.2"),)]
    assert [search_cell(row).text for row in table.rows] == [
        "learning_rate=0.1 (best of 2)",
        "learning_rate=0.2 (best of 2)",
    ]
    assert "search" in [column.heading for column in detail_columns(table)]


def test_the_choice_is_made_for_all_seeds_together() -> None:
    runs = [
        tried(replace(Trial("apt", 0.6), seed=seed), rate, held_out, metric=rate)
        for rate, scores in ((0.1, (0.9, 0.5)), (0.2, (0.8, 0.7)))
        for seed, held_out in enumerate(scores, start=1)
    ]
    (row,) = table_of(*runs).rows
    assert row.searched == ((RATE, "0.2"),)
    assert [run.metric for run in row.runs] == [0.2, 0.2]


@pytest.mark.parametrize("state", ["failed", "running"])
def test_a_try_without_a_result_is_told_and_not_chosen(state: str) -> None:
    apt = Trial("apt", 0.6)
    done = tried(apt, 0.1, held_out=0.1, metric=0.9)
    other = UnfinishedTrial(f"{apt.run_id}-0.2", state, "why", cell_of_report(done))
    (row,) = table_of(done, unfinished=(other,)).rows
    assert (row.searched, row.num_tries) == (((RATE, "0.1"),), 2)
    assert row.unfinished == (other,)


def test_without_a_search_a_setting_makes_a_row_of_its_own() -> None:
    apt = Trial("apt", 0.6)
    runs = tuple(tried(apt, rate, held_out=rate, metric=0.9) for rate in (0.1, 0.2))
    settings = {run.run_id: {RATE: float(run.run_id.rpartition("-")[2])} for run in runs}
    (table,) = build_tables(SweepRecords("sweep", runs, settings=settings))
    assert len(table.rows) == 2
    assert {search_cell(row).text for row in table.rows} == {"no search"}
    assert "search" not in [column.heading for column in detail_columns(table)]

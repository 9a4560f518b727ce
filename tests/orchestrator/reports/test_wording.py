from dataclasses import replace

import pytest

from orchestrator.reports.columns import detail_columns, headline_columns
from orchestrator.reports.records import CellKey, SweepRecords, UnfinishedTrial
from orchestrator.reports.rows import Row, TaskTable, TimeToTarget
from orchestrator.reports.stat import NOTHING, Stat
from orchestrator.reports.tables import build_tables
from orchestrator.reports.wording import (
    count,
    duration,
    metric_cell,
    metric_scale,
    metric_unit,
    number_with_spread,
    runs_cell,
    time_to_target_cell,
    train_time_cell,
)
from tests.orchestrator.reports.synthetic_sweep import Trial, make_report

APT = CellKey("apt", "full", 0.6, "roberta", "sst2")


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((90.0, 91.0, 92.0), "91.00 \u00b1 2.48"),
        ((90.0, 92.0), "91.00 \u00b1 12.71"),
        ((90.0,), "90.00"),
        ((), "not measured"),
    ],
)
def test_the_interval_is_shown_as_far_as_the_seeds_carry_it(
    values: tuple[float, ...], text: str
) -> None:
    assert number_with_spread(Stat(values), 2) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (99.0, "99.0 s"), (600, "10.0 min"), (9000, "2.50 h")]
)
def test_durations_choose_their_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"), [(12, "12"), (34_021_786, "34.02 M"), (5.44e9, "5.44 G"), (1500, "1.50 k")]
)
def test_counts_choose_their_magnitude(number: float, text: str) -> None:
    assert count(number) == text


def test_accuracy_is_shown_in_percent_and_an_unknown_metric_as_it_is() -> None:
    assert (
        metric_cell(Row(APT, "accuracy", (make_report(Trial()),), metric=Stat((0.5,)))).text
        == "50.00 (n=1)"
    )
    assert (
        metric_cell(Row(APT, "loss", (make_report(Trial()),), metric=Stat((0.5,)))).text
        == "0.5000 (n=1)"
    )


@pytest.mark.parametrize(
    "name",
    [
        *("accuracy", "f1", "matthews", "pearson", "spearman", "pearson_spearman", "exact_match"),
        *("rouge", "rouge1", "rouge2", "rougeL", "token_accuracy", "exact_match_text", "lm_eval"),
    ],
)
def test_every_metric_of_a_task_is_shown_in_percent(name: str) -> None:
    assert metric_scale(name) == 100.0
    assert metric_unit(name) == f"{name} (%)"


def test_not_reached_is_said() -> None:
    run = make_report(Trial("apt", 0.6))
    row = Row(APT, runs=(run,), time_to_target=TimeToTarget(NOTHING, NOTHING, 1))
    assert time_to_target_cell(row).text == "not reached"


def test_a_time_that_only_some_runs_reached_says_how_many() -> None:
    run = make_report(Trial("apt", 0.6))
    some = TimeToTarget(Stat((10.0, 20.0)), Stat((12.0, 22.0)), 3)
    row = Row(APT, runs=(run,), time_to_target=some)
    assert time_to_target_cell(row).text == "15.0 s (2 of 3 runs)"
    assert time_to_target_cell(row, with_eval=True).text == "17.0 s (2 of 3 runs)"


def test_times_that_include_a_teacher_say_so() -> None:
    run = make_report(Trial("apt", 0.6))
    reached = TimeToTarget(Stat((10.0,)), Stat((12.0,)), 1)
    row = Row(APT, runs=(run,), train_time_s=Stat((20.0,)), time_to_target=reached)
    assert (train_time_cell(row).text, time_to_target_cell(row).text) == ("20.0 s", "10.0 s")
    row = replace(row, teacher_time_s=Stat((5.0,)))
    assert train_time_cell(row).text == "20.0 s with teacher"
    assert time_to_target_cell(row).text == "10.0 s with teacher"


def test_runs_say_what_became_of_the_others() -> None:
    trials = tuple(UnfinishedTrial(s, s, "why", APT) for s in ("failed", "failed", "running"))
    row = Row(APT, runs=(make_report(Trial("apt", 0.6)),), unfinished=trials)
    assert runs_cell(row).text == "1 of 4 (2 failed, 1 running)"


@pytest.mark.parametrize("columns", [headline_columns, detail_columns])
def test_no_cell_is_ever_blank(columns: object) -> None:
    assert callable(columns)
    failed = UnfinishedTrial("x", "failed", "boom", APT)
    reports = (make_report(Trial("ft")), make_report(Trial("lora", dataset="rte"), step_time_s={}))
    for table in build_tables(SweepRecords("sweep", reports, (failed,))):
        for row in table.rows:
            assert all(column.fill(row).text.strip() for column in columns(table))


def test_a_failed_row_says_failed_in_every_number() -> None:
    row = Row(APT, unfinished=(UnfinishedTrial("x", "failed", "boom", APT),))
    table = TaskTable("roberta", "sst2", (row,))
    texts = {column.heading: column.fill(row) for column in headline_columns(table)}
    assert texts["arm"].text == "apt 60%"
    assert texts["metric"].text == texts["peak memory"].text == "failed"
    assert texts["metric"].is_missing

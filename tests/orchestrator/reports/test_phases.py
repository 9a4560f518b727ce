from dataclasses import replace
from typing import Any

import pytest

from orchestrator.reports.phases import duration_of_step, phase_grid, stretch_grid
from tests.orchestrator.reports.synthetic_sweep import Trial, make_report

APT = make_report(Trial("apt", 0.6))


def line(step: int, **values: float) -> tuple[int, dict[str, Any]]:
    base = {
        "time/train_s": step / 10,
        "time/eval_s": 0.0,
        "memory/peak_gib": 1.0 + step / 100,
        "memory/current_gib": 0.5,
        "time/step_s": 0.1,
    }
    return step, base | values


def test_stretches_lie_between_the_surgeries_and_add_up() -> None:
    cut = {"surgery/seconds": 0.2}
    log = [
        line(10, **{"time/step_s": 0.3}), line(20, **cut), line(30), line(40, **cut), line(50),
        line(100, **{"time/eval_s": 4.0}),
    ]  # fmt: skip
    rows = [[cell.text for cell in row] for row in stretch_grid(log).rows]
    assert [row[0] for row in rows] == [
        "to the first surgery (steps 1 to 20)",
        "to the last surgery (steps 21 to 40)",
        "after the last surgery (steps 41 to 100)",
    ]
    assert [row[1] for row in rows] == ["20", "20", "60"]
    assert [row[2] for row in rows] == ["2.0 s", "2.0 s", "6.0 s"]
    assert [row[3] for row in rows] == ["0.0 s", "0.0 s", "4.0 s"]
    assert rows[2][4:] == ["2.00 GiB", "0.50 GiB", "100 ms"]


def test_the_peak_of_a_stretch_is_its_greatest_though_a_phase_starts_anew() -> None:
    log = [line(10, **{"memory/peak_gib": 3.0}), line(20, **{"memory/peak_gib": 2.0})]
    (row,) = stretch_grid(log).rows
    assert row[4].text == "3.00 GiB"


def test_a_run_that_ends_with_its_only_surgery_has_one_stretch() -> None:
    rows = stretch_grid([line(10), line(20, **{"surgery/seconds": 0.2})]).rows
    assert [row[0].text for row in rows] == ["to the first surgery (steps 1 to 20)"]


def test_without_surgeries_it_is_one_stretch_and_without_a_log_none() -> None:
    (row,) = stretch_grid([(5, {}), (10, {})]).rows
    assert row[0].text == "no surgery (steps 1 to 10)"
    assert {cell.text for cell in row[2:]} == {"not recorded"}
    assert stretch_grid([]).rows == ()


def test_phases_of_the_report_have_their_median_steps() -> None:
    rows = [[cell.text for cell in row] for row in phase_grid(APT).rows]
    assert rows[0] == ["tuning, before the first cut", "100 ms", "not recorded"]
    assert [row[0] for row in rows][1:] == ["pruning, to the last event", "retraining"]


def test_peaks_by_phase_are_shown_where_a_report_has_them() -> None:
    report = replace(APT, peak_memory_by_phase_gib={"pruning": 1.5, "tuning": 1.25})
    rows = {row[0].text: row[2].text for row in phase_grid(report).rows}
    assert rows["pruning, to the last event"] == "1.50 GiB"
    assert rows["tuning, before the first cut"] == "1.25 GiB"
    assert phase_grid(replace(APT, step_time_s={})).rows == ()


@pytest.mark.parametrize(("seconds", "text"), [(0.0154, "15 ms"), (2.5, "2.5 s"), (120, "2.0 min")])
def test_steps_are_told_in_the_unit_that_suits_them(seconds: float, text: str) -> None:
    assert duration_of_step(seconds) == text

from dataclasses import replace

import pytest

from apt_core.report import RunReport
from orchestrator.reports.checks import find_warnings
from orchestrator.reports.records import SweepRecords, UnfinishedTrial
from orchestrator.reports.tables import build_tables
from tests.orchestrator.reports.synthetic_sweep import Trial, demo_trials, make_report


def warnings_of(*reports: RunReport, unfinished: tuple[UnfinishedTrial, ...] = ()) -> list[str]:
    records = SweepRecords("sweep", reports, unfinished)
    return list(find_warnings(records, build_tables(records)))


def seeds(trial: Trial, **changes: object) -> list[RunReport]:
    return [make_report(replace(trial, seed=seed), **changes) for seed in (1, 2, 3)]


def the_warning(warnings: list[str], part: str) -> str:
    (warning,) = [warning for warning in warnings if part in warning]
    return warning


def test_a_complete_sweep_warns_of_nothing() -> None:
    assert warnings_of(*(make_report(trial) for trial in demo_trials())) == []


def test_fewer_than_three_seeds_are_named() -> None:
    warnings = warnings_of(*seeds(Trial("ft")), make_report(Trial("lora")))
    assert warnings == ["Fewer than 3 seeds, so the seeds say little about noise: lora (n=1)."]


def test_a_missing_baseline_is_said() -> None:
    (warning,) = warnings_of(*seeds(Trial("lora")))
    assert warning.startswith("No finished full fine-tuning run (arm ft)")


def test_a_target_in_macs_is_held_against_macs_and_not_against_parameters() -> None:
    macs = {"cost_unit": "MACs", "cost": 0.4, "dense_cost": 1.0, "sparsity": 0.5}
    reached = seeds(Trial("apt", 0.6), **macs)
    assert warnings_of(*seeds(Trial("ft")), *reached) == []
    missed = seeds(Trial("apt", 0.6), **macs | {"cost": 0.45})
    assert warnings_of(*seeds(Trial("ft")), *missed) == [
        "Target sparsity missed by more than 1 point: apt 60% reached 55.0% on average."
    ]


def test_pruned_but_slower_than_dense_is_said_with_the_batch_size() -> None:
    slow = [
        replace(
            report,
            efficiency=replace(
                report.efficiency,
                inference=tuple(
                    replace(point, latency_ms=1.25 * point.dense_latency_ms)
                    if point.batch_size == 128
                    else point
                    for point in report.efficiency.inference
                ),
            ),
        )
        for report in seeds(Trial("apt", 0.6))
    ]
    warnings = warnings_of(*seeds(Trial("ft")), *slow)
    assert warnings == [
        "Pruned, but not faster than the dense model: apt 60% (0.80x at batch size 128)."
    ]


@pytest.mark.parametrize(("reached", "is_missed"), [(0.591, False), (0.585, True), (0.62, True)])
def test_a_missed_target_sparsity_is_said(reached: float, is_missed: bool) -> None:
    reports = seeds(Trial("apt", 0.6), sparsity=reached)
    warnings = warnings_of(*seeds(Trial("ft")), *reports)
    assert any("missed by more than 1 point" in warning for warning in warnings) == is_missed


def test_one_seed_that_missed_is_not_hidden_by_the_mean() -> None:
    reports = seeds(Trial("apt", 0.6))
    warnings = warnings_of(*seeds(Trial("ft")), replace(reports[0], sparsity=0.5), *reports[1:])
    assert "apt 60% reached 56." in the_warning(warnings, "missed")


def test_cells_measured_on_different_machines_are_named() -> None:
    gpu = {"device": "H200", "precision": "fp32", "engine": "deepspeed", "num_workers": 1}
    warnings = warnings_of(*seeds(Trial("ft")), *seeds(Trial("apt", 0.6), environment=gpu))
    text = the_warning(warnings, "device differs")
    assert "cpu (ft)" in text
    assert "H200 (apt 60%)" in text


def test_process_ids_are_not_the_machine() -> None:
    reports = [
        make_report(Trial("ft", seed=seed), environment={"device": "cpu", "pid": seed})
        for seed in (1, 2, 3)
    ]
    assert warnings_of(*reports) == []


def test_the_same_seed_twice_is_said() -> None:
    reports = seeds(Trial("ft"))
    twin = replace(reports[0], run_id="twin")
    assert warnings_of(*reports, twin) == ["Counted more than once with the same seed: ft seed 1."]


def test_unfinished_trials_come_first() -> None:
    lost = UnfinishedTrial("x", "failed", "boom", None)
    warnings = warnings_of(make_report(Trial("ft")), unfinished=(lost,))
    assert warnings[0].startswith("1 of 2 trials have no result (1 failed)")


def test_warnings_of_runs_are_told_once_with_their_runs() -> None:
    reports = seeds(Trial("ft"), warnings=("loss scale fell to 1",))
    run_ids = ", ".join(report.run_id for report in reports)
    assert warnings_of(*reports) == [f"loss scale fell to 1 (runs: {run_ids})"]


def test_long_lists_are_cut() -> None:
    targets = [round(0.1 + 0.05 * index, 2) for index in range(9)]
    reports = [make_report(Trial("apt", target)) for target in targets]
    assert "and 4 more" in the_warning(warnings_of(make_report(Trial("ft")), *reports), "Fewer")


def test_an_empty_sweep_is_said() -> None:
    assert warnings_of() == ["No trial has been started."]


def test_rows_of_different_modes_are_told() -> None:
    runs = [*seeds(Trial("ft")), *seeds(Trial("lora"))]
    settings = {run.run_id: {"mode": "official" if run.arm == "lora" else "paper"} for run in runs}
    records = SweepRecords("sweep", tuple(runs), settings=settings)
    warning = the_warning(list(find_warnings(records, build_tables(records))), "Modes differ")
    assert warning.endswith("too: ft (paper), lora (official).")


@pytest.mark.parametrize(("official", "words"), [((1, 2, 3), "All"), ((1,), "1 of them")])
def test_mode_official_is_said(official: tuple[int, ...], words: str) -> None:
    reports = seeds(Trial("ft"))
    settings = {
        run.run_id: {"mode": "official" if run.seed in official else "paper"} for run in reports
    }
    records = SweepRecords("sweep", tuple(reports), settings=settings)
    warning = the_warning(list(find_warnings(records, build_tables(records))), "in mode official")
    assert warning.startswith(f"Trials in mode official: {words}.")


def test_scores_on_rows_that_also_chose_the_weights_are_said() -> None:
    reports = seeds(Trial("ft"))
    own = {"training.choose_best": True, "data.holdout_rows": 0}
    records = SweepRecords("sweep", tuple(reports), settings={run.run_id: own for run in reports})
    warning = the_warning(list(find_warnings(records, build_tables(records))), "too good")
    assert warning.endswith("scores are too good: ft.")

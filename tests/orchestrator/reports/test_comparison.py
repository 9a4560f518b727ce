from dataclasses import replace
from pathlib import Path
from typing import Any

from apt_core.report import RunReport
from orchestrator.reports.collect import collect_trials
from orchestrator.reports.comparison import comparison_grid
from orchestrator.reports.grid import Grid
from orchestrator.reports.records import Curves, SweepRecords, UnfinishedTrial, cell_of_report
from orchestrator.reports.settings import flatten
from tests.orchestrator.reports.synthetic_sweep import (
    Trial,
    make_config,
    make_report,
    write_trial,
)


def grid_of(
    *runs: RunReport,
    settings: dict[str, Any] | None = None,
    unfinished: tuple[UnfinishedTrial, ...] = (),
) -> Grid:
    curves = {run.run_id: Curves() for run in (*runs, *unfinished)}
    records = SweepRecords("", runs, unfinished, settings=settings or {}, curves=curves)
    return comparison_grid(records)


def lines(grid: Grid) -> dict[str, list[str]]:
    return {row[0].text: [cell.text for cell in row[1:]] for row in grid.rows}


def test_columns_stand_in_the_order_given_and_seeds_share_one() -> None:
    runs = [make_report(Trial("lora", seed=seed)) for seed in (1, 2)]
    grid = grid_of(*runs, make_report(Trial("ft")), make_report(Trial("lora", seed=3)))
    assert [column.heading for column in grid.columns] == ["", "lora", "ft"]
    assert lines(grid)["runs"] == ["3", "1"]


def test_settings_that_differ_are_shown_and_no_others() -> None:
    trials = [Trial("ft"), Trial("apt", 0.6)]
    runs = [make_report(trial) for trial in trials]
    settings = {
        run.run_id: flatten(make_config(trial, training__learning_rate=rate))
        | {"orchestration.results_dir": rate}
        for run, trial, rate in zip(runs, trials, (1e-4, 2e-4), strict=True)
    }
    found = lines(grid_of(*runs, settings=settings))
    assert found["arm"] == ["ft", "apt"]
    assert found["training.learning_rate"] == ["0.0001", "0.0002"]
    assert not {"training.betas", "orchestration.results_dir", "name"} & set(found)


def test_a_run_without_a_config_is_not_blank() -> None:
    runs = [make_report(Trial("ft")), make_report(Trial("lora")), make_report(Trial("apt", 0.6))]
    settings = {run.run_id: flatten(make_config(Trial(run.arm, 0.6))) for run in (runs[0], runs[2])}
    assert lines(grid_of(*runs, settings=settings))["arm"] == ["ft", "unknown", "apt"]


def test_differences_are_to_the_first_column_over_common_seeds() -> None:
    first = [make_report(Trial("lora", seed=s), metric=0.90 + 0.001 * s) for s in (1, 2, 3)]
    clear = [make_report(Trial("apt", 0.6, s), metric=0.92 + 0.001 * s) for s in (1, 2, 3, 4)]
    one = make_report(Trial("apt", 0.4, 2), metric=0.912)
    found = lines(grid_of(*first, *clear, one))["difference, seed by seed"]
    assert found == [
        "compared to this",
        "+2.00 [+2.00, +2.00], t: p<0.001, n=3: higher",
        "+1.00: one seed, no claim",
    ]


def test_another_dataset_is_named_and_not_subtracted() -> None:
    grid = grid_of(make_report(Trial("ft")), make_report(Trial("ft", dataset="rte")))
    assert [c.heading for c in grid.columns[1:]] == ["roberta on sst2: ft", "roberta on rte: ft"]
    assert lines(grid)["difference, seed by seed"][1] == "another dataset or metric"


def test_a_run_without_a_result_says_what_became_of_it() -> None:
    ft = make_report(Trial("ft"))
    failed = UnfinishedTrial("x", "failed", "boom", cell_of_report(make_report(Trial("lora"))))
    found = lines(grid_of(ft, unfinished=(failed,)))
    assert found["accuracy (%)"][1] == found["difference, seed by seed"][1] == "failed"
    assert found["mind"] == ["one seed", "1 failed"]


def test_what_does_not_compare_to_a_failed_first_says_so() -> None:
    failed = UnfinishedTrial("x", "failed", "boom", cell_of_report(make_report(Trial("lora"))))
    records = SweepRecords("", (make_report(Trial("ft")),), (failed,), curves={"x": Curves()})
    found = lines(comparison_grid(records))["difference, seed by seed"]
    assert found == ["compared to this", "the first has no result"]


def test_speed_memory_and_time_are_told() -> None:
    run = make_report(Trial("ft"))
    run = replace(run, efficiency=replace(run.efficiency, peak_train_memory_gib=2.5))
    found = lines(grid_of(run, make_report(Trial("lora"))))
    assert found["peak training memory"][0] == "2.50 GiB"
    assert found["training time"][0] == "20.0 s"
    assert (
        found["speed-up over dense, batch 32"][0] == f"{run.efficiency.inference[0].speedup:.2f}x"
    )


def test_runs_of_two_sweeps_are_read_from_their_folders(tmp_path: Path) -> None:
    folders = [
        write_trial(tmp_path / "b", Trial("lora")),
        write_trial(tmp_path / "a", Trial("ft"), status={"state": "FAILED", "reason": "boom"}),
        write_trial(tmp_path / "a", Trial("apt", 0.6)),
    ]
    grid = comparison_grid(collect_trials(folders))
    assert [column.heading for column in grid.columns[1:]] == ["lora", "ft", "apt 60%"]
    assert lines(grid)["runs"] == ["1", "0 of 1 (1 failed)", "1"]

from dataclasses import replace
from typing import Any

import pytest

from apt_core.report import RunReport
from orchestrator.reports.records import SweepRecords, UnfinishedTrial, cell_of_report
from orchestrator.reports.rows import label_of
from orchestrator.reports.settings import flatten
from orchestrator.reports.tables import build_tables
from tests.orchestrator.reports.synthetic_sweep import (
    ENVIRONMENT,
    Trial,
    demo_trials,
    make_config,
    make_report,
)

SEEDS = (1, 2, 3)


def marks(
    *reports: RunReport,
    unfinished: tuple[UnfinishedTrial, ...] = (),
    settings: dict[str, Any] | None = None,
) -> dict[str, tuple[str, ...]]:
    records = SweepRecords("sweep", reports, unfinished, settings=settings or {})
    (table,) = build_tables(records)
    return {label_of(row.key): row.marks for row in table.rows}


def seeds(trial: Trial, **changes: Any) -> list[RunReport]:
    return [make_report(replace(trial, seed=seed), **changes) for seed in SEEDS]


def test_a_complete_sweep_has_no_mark() -> None:
    assert set(marks(*(make_report(trial) for trial in demo_trials())).values()) == {()}


def test_one_and_two_seeds_are_marked() -> None:
    found = marks(make_report(Trial("ft")), *seeds(Trial("lora"))[:2])
    assert found == {"ft": ("one seed",), "lora": ("two seeds",)}


def test_one_seed_that_ran_twice_is_one_seed() -> None:
    run = make_report(Trial("ft"))
    assert marks(run, replace(run, run_id="again"))["ft"] == ("one seed",)


def test_a_failed_trial_is_marked() -> None:
    run = make_report(Trial("lora"))
    failed = UnfinishedTrial("x", "failed", "boom", cell_of_report(run))
    running = UnfinishedTrial("y", "running", "", cell_of_report(run))
    found = marks(*seeds(Trial("ft")), *seeds(Trial("lora")), unfinished=(failed, running, failed))
    assert found == {"ft": (), "lora": ("2 failed", "1 running")}


def test_a_missing_baseline_is_marked() -> None:
    assert marks(*seeds(Trial("lora"))) == {"lora": ("no baseline",)}


def test_mixed_hardware_within_a_row_and_against_the_baseline_is_marked() -> None:
    gpu = dict(ENVIRONMENT) | {"device": "some GPU"}
    mixed = seeds(Trial("lora"))
    mixed[1] = replace(mixed[1], environment=gpu)
    found = marks(*seeds(Trial("ft")), *mixed, *seeds(Trial("apt", 0.6), environment=gpu))
    assert found == {
        "ft": (),
        "lora": ("mixed hardware: device",),
        "apt 60%": ("hardware unlike the baseline's: device",),
    }


def test_software_is_not_hardware() -> None:
    other = dict(ENVIRONMENT) | {"torch": "0.0"}
    assert marks(*seeds(Trial("ft")), *seeds(Trial("lora"), environment=other))["lora"] == ()


def test_mixed_modes_are_marked_on_every_row() -> None:
    runs = [*seeds(Trial("ft")), *seeds(Trial("lora"))]
    settings = {
        run.run_id: flatten(make_config(Trial(run.arm, seed=run.seed)))
        | {"mode": "official" if run.arm == "lora" else "paper"}
        for run in runs
    }
    assert marks(*runs, settings=settings) == {
        "ft": ("mixed modes: this row is paper",),
        "lora": ("mixed modes: this row is official",),
    }
    same = {run_id: own | {"mode": "official"} for run_id, own in settings.items()}
    assert set(marks(*runs, settings=same).values()) == {()}


def test_a_pruned_model_slower_than_the_dense_one_is_marked() -> None:
    fast = make_report(Trial("apt", 0.6))
    points = [replace(fast.efficiency.inference[0], batch_size=4, latency_ms=1e9)]
    efficiency = replace(fast.efficiency, inference=(*fast.efficiency.inference, *points))
    found = marks(*seeds(Trial("ft")), *seeds(Trial("apt", 0.6), efficiency=efficiency))
    assert found["apt 60%"] == ("slower than dense at batch 4",)


@pytest.mark.parametrize(
    ("changes", "is_marked"),
    [
        ({}, False),
        ({"training.choose_best": True, "data.holdout_rows": 1000}, False),
        ({"training.choose_best": True, "data.holdout_rows": 0}, True),
        ({"distillation.refresh_teacher": True, "data.holdout_rows": 0}, True),
        (
            {
                "training.choose_best": True,
                "data.holdout_rows": 9,
                "data.datasets.sst2.eval_split": "holdout",
            },
            True,
        ),
    ],
)
def test_choosing_by_the_reported_rows_is_marked(changes: dict[str, Any], is_marked: bool) -> None:
    runs = seeds(Trial("ft"))
    own = {run.run_id: flatten(make_config(Trial("ft"))) | changes for run in runs}
    expected = ("weights or teacher chosen on the reported rows",) if is_marked else ()
    assert marks(*runs, settings=own)["ft"] == expected

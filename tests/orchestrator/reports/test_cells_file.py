import csv
import json
import statistics
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from scipy import stats

from orchestrator.reports.render import build_report
from tests.orchestrator.reports.synthetic_sweep import (
    Trial,
    build_without_figures,
    demo_trials,
    make_report,
    write_sweep,
    write_trial,
)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sweep = write_sweep(tmp_path_factory.mktemp("runs") / "demo", demo_trials())
    write_trial(sweep, Trial("apt", 0.8), status={"state": "FAILED", "reason": "boom"})
    build_without_figures(sweep)
    return sweep


@pytest.fixture(scope="module")
def lines(sweep: Path) -> list[dict[str, Any]]:
    return pq.read_table(sweep / "report" / "cells.parquet").to_pylist()


def cell(lines: list[dict[str, Any]], row: str, column: str) -> dict[str, Any]:
    (line,) = [
        line
        for line in lines
        if (line["row"], line["column"]) == (row, column) and not line["layout_of"]
    ]
    return line


def test_numbers_are_those_of_the_result_files_to_the_last_printed_digit(
    sweep: Path, lines: list[dict[str, Any]]
) -> None:
    files = [json.loads(path.read_text()) for path in sweep.glob("trials/*/result.json")]
    mine = [
        f for f in files if (f["arm"], f["ablation"], f["target_sparsity"]) == ("apt", "full", 0.6)
    ]
    metrics = [100 * f["metric"] for f in sorted(mine, key=lambda f: f["seed"])]
    low, high = stats.t.interval(0.95, 2, loc=statistics.mean(metrics), scale=stats.sem(metrics))
    line = cell(lines, "apt 60%", "accuracy (%)")
    assert line["values"] == pytest.approx(metrics, rel=1e-12)
    assert (line["low_95"], line["high_95"]) == pytest.approx((low, high), rel=1e-9)
    assert line["text"] == f"{statistics.mean(metrics):.2f} \u00b1 {(high - low) / 2:.2f} (n=3)"


def test_every_cell_leads_to_its_runs_and_their_commands(lines: list[dict[str, Any]]) -> None:
    line = cell(lines, "apt 60%", "peak memory")
    trials = [Trial("apt", 0.6, seed) for seed in (1, 2, 3)]
    assert line["run_ids"] == [trial.run_id for trial in trials]
    assert line["commands"] == [make_report(trial).command for trial in trials]


def test_no_text_is_empty_and_what_failed_says_so(lines: list[dict[str, Any]]) -> None:
    assert all(line["text"].strip() for line in lines)
    failed = cell(lines, "apt 80%", "peak memory")
    assert (failed["text"], failed["is_missing"], failed["n"]) == ("failed", True, 0)
    assert (failed["mean"], failed["run_ids"]) == (None, [])


def test_the_csv_holds_the_same_without_a_blank(sweep: Path, lines: list[dict[str, Any]]) -> None:
    with (sweep / "report" / "cells.csv").open(encoding="utf-8", newline="") as file:
        flat = list(csv.DictReader(file))
    assert len(flat) == len(lines)
    assert all(value for line in flat for value in line.values())
    assert [line["text"] for line in flat] == [line["text"] for line in lines]
    means = [float(a["mean"]) for a in flat if a["mean"] != "NA"]
    assert means == [line["mean"] for line in lines if line["mean"] is not None]


def test_a_report_without_trials_has_no_cells(tmp_path: Path) -> None:
    (tmp_path / "trials").mkdir()
    paths = build_report(tmp_path)
    assert pq.read_table(paths.cells_parquet).num_rows == 0
    assert pq.read_table(paths.parquet).num_rows == 0

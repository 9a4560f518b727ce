import csv
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from orchestrator.reports.collect import collect
from orchestrator.reports.table_csv import write_table
from orchestrator.reports.tables import build_tables
from tests.orchestrator.reports.synthetic_sweep import Trial, demo_trials, write_sweep, write_trial


def lines_of(sweep: Path) -> list[dict[str, str]]:
    path = sweep / "table.csv"
    write_table(path, sweep / "table.parquet", build_tables(collect(sweep)))
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def test_numbers_are_unrounded(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path, demo_trials())
    (table,) = build_tables(collect(sweep))
    for line, row in zip(lines_of(sweep), table.rows, strict=True):
        assert float(line["metric_mean"]) == row.metric.mean
        assert float(line["metric_std"]) == row.metric.std
        assert float(line["density_mean"]) == pytest.approx(1 - float(line["sparsity_mean"]))
        assert float(line["speedup_batch_128_mean"]) == row.inference[128].speedup.mean
        assert line["seeds"] == "1 2 3"


def test_no_field_is_empty_and_a_failure_is_told(tmp_path: Path) -> None:
    write_trial(tmp_path, Trial("ft"))
    write_trial(tmp_path, Trial("apt", 0.6), status={"state": "FAILED", "reason": "boom, twice"})
    lines = lines_of(tmp_path)
    assert all(value for line in lines for value in line.values())
    assert lines[1]["state"] == "failed"
    assert lines[1]["metric_mean"] == "NA"
    assert "failed: boom, twice (last log: step 200)" in lines[1]["unfinished"]


def test_not_reached_is_said(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path, demo_trials())
    line = next(line for line in lines_of(sweep) if line["row"] == "apt w/o_Ds 60%")
    assert line["time_to_97_percent_of_ft_s_mean"] == "not reached"
    assert line["runs_that_reached_97_percent_of_ft"] == "0"


def test_parquet_holds_the_same_numbers_typed(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "demo", demo_trials())
    write_trial(sweep, Trial("apt", 0.8), status={"state": "FAILED", "reason": "boom"})
    flat = lines_of(sweep)
    typed = pq.read_table(sweep / "table.parquet").to_pylist()
    assert [line["row"] for line in typed] == [line["row"] for line in flat]
    for line, text in zip(typed, flat, strict=True):
        for name, value in line.items():
            if isinstance(value, float):
                assert value == float(text[name])
            elif value is None:
                assert text[name] in {"NA", "not reached"}
    failed = next(line for line in typed if line["state"] == "failed")
    assert (failed["metric_mean"], failed["metric_n"]) == (None, 0)


def test_runs_commands_and_marks_are_beside_the_numbers(tmp_path: Path) -> None:
    line = lines_of(write_sweep(tmp_path, [Trial("ft", seed=1), Trial("ft", seed=2)]))[0]
    assert line["run_ids"].split() == [Trial("ft", seed=seed).run_id for seed in (1, 2)]
    assert len(line["commands"].splitlines()) == 2
    assert line["mind"] == "two seeds"

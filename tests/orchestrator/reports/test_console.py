from pathlib import Path

from rich.console import Console

from orchestrator.reports.collect import collect
from orchestrator.reports.console import console_table, grid_table
from orchestrator.reports.grid import Cell, Grid, Heading
from tests.orchestrator.reports.synthetic_sweep import (
    Trial,
    demo_trials,
    make_config,
    make_report,
    write_sweep,
    write_trial,
)


def printed(sweep: Path, width: int = 120) -> str:
    console = Console(width=width, record=True, quiet=False, file=(sweep / "out.txt").open("w"))
    console.print(console_table(collect(sweep)))
    return console.export_text()


def test_the_table_fits_120_columns_uncut(tmp_path: Path) -> None:
    write_sweep(tmp_path, demo_trials(seeds=(1, 2)))
    failed = {"state": "FAILED", "reason": "boom"}
    write_trial(tmp_path, Trial("apt", 0.6, ablation="w/o_Ds", dataset="rte"), status=failed)
    text = printed(tmp_path)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 120
    assert "\u2026" not in text
    assert "apt w/o_AT 60%" in text
    assert "1 of 15 trials have no result" in text


def test_runs_that_differ_in_many_settings_leave_the_columns_their_room(tmp_path: Path) -> None:
    trials = [Trial("ft"), Trial("apt", 0.6, 1), Trial("apt", 0.6, 2), Trial("lora")]
    for trial, start in zip(trials, ("10%", "10%", "25 steps", "10%"), strict=True):
        changes = {"pruning__start": start, "training__learning_rate": len(start) * 1e-4}
        write_trial(tmp_path, trial, config=make_config(trial, **changes))
    text = printed(tmp_path, width=100)
    lines = [line.rstrip() for line in text.splitlines()]
    assert max(map(len, lines)) <= 100
    assert "\u2026" not in text
    assert [line.split()[:3] for line in lines if line.strip().startswith("apt")] == [
        ["apt", "60%", "[A]"],
        ["apt", "60%", "[B]"],
    ]
    assert any(line.startswith("[A]: start=10%, learning_rate=0.0003") for line in lines)
    assert any(line.startswith("[B]: start=25 steps, learning_rate=0.0008") for line in lines)


def test_each_dataset_has_a_section(tmp_path: Path) -> None:
    write_sweep(tmp_path, [Trial("ft"), Trial("ft", dataset="rte")])
    text = printed(tmp_path)
    assert text.index("roberta on rte") < text.index("roberta on sst2")


def test_tasks_with_different_metrics_leave_the_columns_their_room(tmp_path: Path) -> None:
    names = {"sst2": "accuracy", "squad_v2": "exact_match_text", "cnn_dm": "rouge"}
    for dataset, name in names.items():
        trial = Trial("apt", 0.4, dataset=dataset)
        write_trial(tmp_path, trial, report=make_report(trial, metric_name=name))
    text = printed(tmp_path, width=100)
    assert "\u2026" not in text
    flat = " ".join(text.split())
    assert all(f"roberta on {dataset}, {name} (%)" in flat for dataset, name in names.items())


def test_numbers_of_a_row_stand_in_it(tmp_path: Path) -> None:
    write_sweep(tmp_path, demo_trials())
    line = next(line for line in printed(tmp_path).splitlines() if "apt 60%" in line)
    assert all(part in line for part in ("60.", "39.", "\u00b1", "M", "GiB", "x"))


def test_an_empty_sweep_prints(tmp_path: Path) -> None:
    (tmp_path / "trials").mkdir()
    assert "arm" in printed(tmp_path)


def test_any_table_prints_with_its_footnotes(tmp_path: Path) -> None:
    headings = (Heading("arm", "", is_number=False), Heading("a", ""))
    row = (Cell("ft [A]"), Cell("1.50", notes=("mind [this]",)))
    console = Console(width=60, record=True, file=(tmp_path / "out.txt").open("w"))
    console.print(grid_table(Grid(headings, (row,))))
    text = console.export_text()
    assert "ft [A]" in text
    assert "1.50" in text
    assert "1. mind [this]" in text


def test_marks_stand_below_the_table(tmp_path: Path) -> None:
    write_sweep(tmp_path, [*demo_trials(), Trial("apt", 0.8)])
    text = printed(tmp_path)
    assert "one seed: apt 80%" in text
    assert "all rows" not in text
    write_sweep(tmp_path / "other", [Trial("lora"), Trial("apt", 0.8)])
    assert "no baseline: all rows" in printed(tmp_path / "other")

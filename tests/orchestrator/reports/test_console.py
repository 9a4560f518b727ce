from pathlib import Path

from rich.console import Console

from orchestrator.reports.collect import collect
from orchestrator.reports.console import console_table
from tests.orchestrator.reports.synthetic_sweep import Trial, demo_trials, write_sweep, write_trial


def printed(sweep: Path) -> str:
    console = Console(width=120, record=True, quiet=False, file=(sweep / "out.txt").open("w"))
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


def test_each_dataset_has_a_section(tmp_path: Path) -> None:
    write_sweep(tmp_path, [Trial("ft"), Trial("ft", dataset="rte")])
    text = printed(tmp_path)
    assert text.index("roberta on rte") < text.index("roberta on sst2")


def test_numbers_of_a_row_stand_in_it(tmp_path: Path) -> None:
    write_sweep(tmp_path, demo_trials())
    line = next(line for line in printed(tmp_path).splitlines() if "apt 60%" in line)
    assert all(part in line for part in ("60.", "39.", "\u00b1", "M", "GiB", "x"))


def test_an_empty_sweep_prints(tmp_path: Path) -> None:
    (tmp_path / "trials").mkdir()
    assert "arm" in printed(tmp_path)

"""What is printed: every number with its aim, and a missed one marked."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from apt_core.bench.report import Ratio
from jobs.bench_table import bench_tables, ratio_text
from tests.reference.bench_report import REPORT


def printed(report) -> list[str]:
    console = Console(file=io.StringIO(), width=120)
    for table in bench_tables(report):
        console.print(table)
    return console.file.getvalue().splitlines()


def line_of(lines: list[str], start: str) -> str:
    return next(" ".join(line.split()) for line in lines if line.strip().startswith(start))


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (Ratio(1.234), "1.23"),
        (Ratio(1.07, 1.08), "1.07 (<= 1.08)"),
        (Ratio(1.2, 1.08), "1.20 (<= 1.08: missed)"),
        (Ratio(2.0, 1.9, True), "2.00 (>= 1.90)"),
        (Ratio(1.5, 1.9, True), "1.50 (>= 1.90: missed)"),
    ],
)
def test_an_aim_stands_beside_its_number(ratio: Ratio, text: str) -> None:
    assert ratio_text(ratio).plain == text


def test_every_table_is_printed_whole() -> None:
    lines = printed(REPORT)
    assert "2e-07 GFLOP/s" in " ".join(" ".join(lines).split())
    steps = line_of(lines, "retraining")
    assert steps == "retraining 0.40 2000.0 ms 1500.0 to 3000.0 0.50 (<= 0.50) 500.0 ms, matrix 25%"
    rows = [" ".join(line.split()) for line in lines if "retraining" in line]
    assert rows[-1] == "retraining 0.38 0.00 0.12 0.00 0.00 0.00 0.00 0.00 0.50"
    memory = [line for line in lines if "GiB" in line]
    assert " ".join(memory[0].split()) == "control 2.000 GiB 1.00 3.000 GiB"
    assert " ".join(memory[1].split()) == "retraining 1.500 GiB 0.75 (<= 0.65: missed) -"
    assert line_of(lines, "cut and growth") == "cut and growth 1 1.000 s (1.000 to 1.000)"
    assert line_of(lines, "8 x 64") == (
        "8 x 64 2000.0 ms 1500.0 to 3000.0 4000.00 ms 2.00 (>= 1.90) 4.0 500.0 ms, matrix 25%"
    )
    assert max(map(len, lines)) <= 120


def test_what_was_not_measured_has_no_table() -> None:
    bare = replace(REPORT, memory=(), surgery=(), inference=(), profile=())
    text = "\n".join(printed(bare))
    assert "Training steps" in text
    assert "Peak memory" not in text
    assert "Changes of shape" not in text
    assert "Forward passes" not in text
    assert "Where the time goes" not in text

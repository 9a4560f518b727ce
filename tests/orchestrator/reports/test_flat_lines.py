"""Lines as CSV and as Parquet: the same numbers, as text and typed."""

import csv
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from orchestrator.reports.flat_lines import NA, Line, or_na, write_lines


def both(folder: Path, lines: list[Line]) -> tuple[list[dict[str, str]], list[dict[str, object]]]:
    write_lines(folder / "x.csv", folder / "x.parquet", lines)
    with (folder / "x.csv").open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text)), pq.read_table(folder / "x.parquet").to_pylist()


def test_what_is_not_there_is_na_or_null(tmp_path: Path) -> None:
    text, typed = both(
        tmp_path,
        [
            {"name": "a, b", "value": or_na(None), "time": "not reached", "none": NA},
            {"name": 'c "d"', "value": or_na(0.1), "time": 2, "none": NA},
        ],
    )
    assert text[0] == {"name": "a, b", "value": "NA", "time": "not reached", "none": "NA"}
    assert text[1] == {"name": 'c "d"', "value": "0.1", "time": "2", "none": "NA"}
    assert typed[0] == {"name": "a, b", "value": None, "time": None, "none": None}
    assert typed[1] == {"name": 'c "d"', "value": 0.1, "time": 2, "none": None}


@pytest.mark.parametrize("value", [1 / 3, 1e-300, 2**53, -0.0])
def test_no_digit_is_lost(tmp_path: Path, value: float) -> None:
    text, typed = both(tmp_path, [{"value": value}])
    assert float(text[0]["value"]) == typed[0]["value"] == value


def test_a_column_of_numbers_and_words_is_words(tmp_path: Path) -> None:
    _, typed = both(tmp_path, [{"value": 1}, {"value": "many"}])
    assert [line["value"] for line in typed] == ["1", "many"]


def test_no_lines_are_an_empty_table(tmp_path: Path) -> None:
    assert both(tmp_path, []) == ([], [])

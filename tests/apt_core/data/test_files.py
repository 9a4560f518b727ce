"""Files of splits: found by their names, read as what they are, refused with what to do."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from apt_core.data.files import files_there, find_files, read_file
from apt_core.data.tasks import TaskSpec
from apt_core.errors import DataError

TASK = TaskSpec("mine", "x", ("sentence",), ("no", "yes"))
SCORES = TaskSpec("mine", "x", ("sentence",), kind="regression")


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl", "json"])
@pytest.mark.parametrize("name", ["train", "train-00000-of-00001", "train/part"])
def test_a_split_is_found_in_every_format_and_spelling(
    tmp_path: Path, suffix: str, name: str
) -> None:
    path = tmp_path / f"{name}.{suffix}"
    path.parent.mkdir(exist_ok=True)
    path.touch()
    assert find_files(tmp_path, None, "train") == [path]
    assert find_files(tmp_path, None, "test") == []
    assert files_there(tmp_path) == [f"{name}.{suffix}"]


def test_parquet_is_taken_before_copies_in_other_formats(tmp_path: Path) -> None:
    for suffix in ("csv", "parquet", "jsonl"):
        (tmp_path / f"train.{suffix}").touch()
    assert find_files(tmp_path, None, "train") == [tmp_path / "train.parquet"]


@pytest.mark.parametrize("suffix", ["jsonl", "json"])
def test_json_lines_are_read_as_they_are(tmp_path: Path, suffix: str) -> None:
    rows = [{"sentence": "2020-01-01", "label": 1, "id": 5}, {"sentence": "b", "label": 0}]
    content = "\n\n".join(json.dumps(row) for row in rows)
    table = read_file(written(tmp_path / f"train.{suffix}", "\ufeff" + content), TASK)
    assert table.to_pylist() == [{"sentence": "2020-01-01", "label": 1},
                                 {"sentence": "b", "label": 0}]  # fmt: skip


def test_csv_text_stays_text(tmp_path: Path) -> None:
    content = 'sentence,label,id\n1984,yes,1\nnull,no,2\n"two\nlines, quoted",yes,3\n'
    table = read_file(written(tmp_path / "train.csv", content), TASK)
    assert table.to_pylist() == [
        {"sentence": "1984", "label": "yes"},
        {"sentence": "null", "label": "no"},
        {"sentence": "two\nlines, quoted", "label": "yes"},
    ]


def test_scores_in_csv_are_numbers(tmp_path: Path) -> None:
    table = read_file(written(tmp_path / "train.csv", "sentence,label\na,2\nb,3.5\n"), SCORES)
    assert table["label"].to_pylist() == [2.0, 3.5]


def test_all_columns_are_there_when_one_is_missing(tmp_path: Path) -> None:
    for name, content in (("a.csv", "text,label\nx,1\n"), ("a.jsonl", '{"text": "x", "label": 1}')):
        table = read_file(written(tmp_path / name, content), TASK)
        assert table.column_names == ["text", "label"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.csv",
            b"sentence,label\n\xff\xfe,1\n",
            r"a.csv: cannot be read as csv .*; save it as UT",
        ),
        ("a.csv", b"", r"a.csv: cannot be read as csv \(Empty CSV file\); mend or replace"),
        ("a.csv", b"sentence,label\na,b,c\n", r"a.csv: cannot be read as csv .*Expected 2 columns"),
        ("a.jsonl", b'{"sentence": "\xff"}', r"a.jsonl:1: is not UTF-8 .*; save it as UTF-8"),
        ("a.jsonl", b'{"a": 1}\n{"a": ', r"a.jsonl:2: is not JSON .*; write one object per line"),
        ("a.json", b'["a"]', r"a.json:1: is not an object; write one object per line"),
        (
            "a.jsonl",
            b'{"sentence": "a"}\n{"sentence": 1}',
            r'values of "sentence" are of different',
        ),
        ("a.jsonl", b'{"sentence": "\\ud800"}', r'values of "sentence" are of .* or no text'),
        ("a.parquet", b"no parquet", r"a.parquet: cannot be read as parquet .*; mend or replace"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_what_to_do(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_file(written(tmp_path / name, content), TASK)


def test_text_in_a_parquet_file_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    # A column that says it is text and is not: what writers in other languages leave behind.
    bad: Any = pa.Array.from_buffers(
        pa.string(),
        2,
        [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0\3\0\0\0"), pa.py_buffer(b"a\xff\xfe")],
    )
    pq.write_table(pa.table({"sentence": bad, "label": [0, 1]}), tmp_path / "train.parquet")
    message = r'train.parquet: column "sentence" holds bytes that are not UTF-8 .*; write the file'
    with pytest.raises(DataError, match=message):
        read_file(tmp_path / "train.parquet", TASK)

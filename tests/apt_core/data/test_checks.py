"""Checks of splits, by kind of task: what is wrong, where, and what to do."""

import logging
from typing import Any

import pyarrow as pa
import pytest

from apt_core.data.checks import check_split, class_numbers, misplaced_rows
from apt_core.data.tasks import TaskSpec
from apt_core.errors import DataError

LABELS = ("no", "yes")
GOOD: dict[str, dict[str, Any]] = {
    "classification": {"text": "a", "label": 1},
    "regression": {"text": "a", "label": 0.5},
    "qa": {"text": "who", "other": "ann", "answers": {"text": ["ann"], "answer_start": [0]}},
    "summarization": {"text": "a", "summary": "b"},
    "instruction": {"text": "a", "other": "", "output": "b"},
}


def task_of(kind: str) -> TaskSpec:
    columns = tuple(name for name in ("text", "other") if name in GOOD[kind])
    labels = LABELS if kind == "classification" else ()
    return TaskSpec("mine", "x", columns, labels, kind=kind)


def check(kind: str, **changes: Any) -> int:
    rows = [GOOD[kind], {**GOOD[kind], **changes}]
    return check_split(pa.Table.from_pylist(rows), task_of(kind), "train")


@pytest.mark.parametrize("kind", GOOD)
def test_good_rows_pass(kind: str) -> None:
    assert check(kind) == 0


@pytest.mark.parametrize("kind", GOOD)
def test_an_empty_split_and_missing_columns_are_refused(kind: str) -> None:
    table = pa.Table.from_pylist([GOOD[kind]])
    with pytest.raises(DataError, match=r'^data.datasets.mine: split "train" is empty; add rows'):
        check_split(table.slice(0, 0), task_of(kind), "train")
    target = task_of(kind).label_column
    with pytest.raises(DataError, match=rf"has no column {target} \(columns: text.*; set text_col"):
        check_split(table.drop_columns([target]), task_of(kind), "train")


@pytest.mark.parametrize("kind", GOOD)
def test_null_is_refused_in_every_column(kind: str) -> None:
    for name in task_of(kind).columns:
        with pytest.raises(
            DataError, match=rf'column "{name}" holds null .*in row 1.*; (rem|writ)'
        ):
            check(kind, **{name: None})


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (
            "classification",
            {"label": 2},
            r"holds class 2 in row 1, but labels has 2 classes \(0 to",
        ),
        ("classification", {"label": -1}, r"holds class -1 in row 1"),
        ("regression", {"label": float("nan")}, r"holds nan in row 1; remove or correct the row"),
        ("regression", {"label": float("inf")}, r"holds inf in row 1"),
        (
            "qa",
            {"answers": {"text": ["a"], "answer_start": []}},
            r"not as many places as texts in r",
        ),
        (
            "qa",
            {"answers": {"text": [None], "answer_start": [0]}},
            r"holds null in row 1 .*; write",
        ),
        ("qa", {"answers": {"text": [], "answer_start": None}}, r"holds null in row 1 .*two empty"),
    ],
)
def test_a_value_that_is_no_target_of_the_task_is_refused_with_its_row(
    kind: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        check(kind, **changes)


@pytest.mark.parametrize(
    ("kind", "column", "values", "message"),
    [
        ("classification", "label", [0.5], r"holds double, not class numbers; set label_column"),
        (
            "classification",
            "label",
            ["maybe"],
            r'holds "maybe" in row 0, which is none of labels: n',
        ),
        ("classification", "text", [1], r"holds int64, not text; set text_columns"),
        ("regression", "label", ["0.5"], r"holds string, not numbers; set label_column"),
        ("qa", "answers", ["ann"], r"holds string, not answers of the form \{text: .*; write the"),
        ("qa", "answers", [{"text": ["a"]}], r"not answers of the form"),
        (
            "qa",
            "answers",
            [{"text": "a", "answer_start": [0]}],
            r"text holds string, not a list of",
        ),
        (
            "qa",
            "answers",
            [{"text": ["a"], "answer_start": ["0"]}],
            r"start holds list<.*, not a list",
        ),
        ("summarization", "summary", [b"a"], r"holds binary, not text; set label_column"),
    ],
)
def test_a_column_of_the_wrong_type_is_refused(
    kind: str, column: str, values: list[Any], message: str
) -> None:
    table = pa.Table.from_pylist([{**GOOD[kind], column: value} for value in values])
    with pytest.raises(DataError, match=rf'column "{column}".*' + message):
        check_split(table, task_of(kind), "train")


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        (["yes", "no"], [1, 0]),
        (["0", "1"], [0, 1]),
        ([1, 0], [1, 0]),
        (pa.array(["no", "yes"]).dictionary_encode(), [0, 1]),
    ],
)
def test_classes_are_numbers_or_their_names(values: Any, numbers: list[int]) -> None:
    column = pa.chunked_array([pa.array(values) if isinstance(values, list) else values])
    assert class_numbers(column, task_of("classification")).to_pylist() == numbers


def test_a_split_without_any_answer_passes() -> None:
    rows = [{**GOOD["qa"], "answers": {"text": [], "answer_start": []}}]
    assert check_split(pa.Table.from_pylist(rows), task_of("qa"), "train") == 0


@pytest.mark.parametrize(
    ("texts", "starts", "wrong"),
    [
        (["ann"], [0], False),
        (["ann"], [1], True),
        (["ann"], [-3], True),
        (["bob"], [0], True),
        ([""], [0], True),
        (["ann", "nn"], [0, 0], True),
        (["ann", "nn"], [0, 1], False),
        ([], [], False),
    ],
)
def test_an_answer_must_stand_at_its_place(
    texts: list[str], starts: list[int], wrong: bool, caplog: pytest.LogCaptureFixture
) -> None:
    answers = {"text": texts, "answer_start": starts}
    table = pa.Table.from_pylist([GOOD["qa"], {**GOOD["qa"], "answers": answers}])
    assert misplaced_rows(table, task_of("qa")).tolist() == [False, wrong]
    with caplog.at_level(logging.WARNING):
        assert check_split(table, task_of("qa"), "train") == int(wrong)
    assert ("in 1 of 2 rows an answer is not in column" in caplog.text) == wrong

"""Targets as the dataset has them, and as a generative model writes them."""

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from apt_core.data.references import target_text, targets_of
from apt_core.data.tasks import TaskSpec


def task_of(kind: str) -> TaskSpec:
    columns = ("question", "context") if kind == "qa" else ("text",)
    task = TaskSpec("x", "x", columns, kind=kind)
    if kind != "classification":
        return task
    return replace(task, labels=("no", "yes"), label_words=("bad", "good"))


CASES: list[tuple[str, list[Any], list[Any], list[str]]] = [
    ("classification", [1, 0], [1, 0], ["good", "bad"]),
    ("classification", ["yes", "no"], [1, 0], ["good", "bad"]),
    ("regression", [2, 4], [2.0, 4.0], ["2.0", "4.0"]),
    ("regression", [2.26, 4.0], [2.26, 4.0], ["2.3", "4.0"]),
    ("summarization", ["a", ""], ["a", ""], ["a", ""]),
    ("instruction", ["a"], ["a"], ["a"]),
    (
        "qa",
        [
            {"text": ["b", "a", "b"], "answer_start": [3, 0, 3]},
            {"text": [], "answer_start": []},
        ],
        [("b", "a"), ()],
        ["b", "unanswerable"],
    ),
]


@pytest.mark.parametrize(("kind", "column", "targets", "texts"), CASES)
def test_targets_and_their_texts(
    kind: str, column: list[Any], targets: list[Any], texts: list[str]
) -> None:
    task = task_of(kind)
    found = targets_of(pa.table({task.label_column: pa.array(column)}), task)
    assert list(found) == targets
    assert [type(one) for one in found] == [type(one) for one in targets]
    assert [target_text(target, task) for target in found] == texts

"""Evaluation splits: which items are scored, and against what."""

import numpy as np
import pyarrow as pa
import pytest

from apt_core.data.evaluated import EvaluatedSplit
from apt_core.data.sources import read_split
from apt_core.data.tasks import TaskSpec
from apt_core.data.windows import window_features
from tests.tiny_tasks import qa_row, tokenizer, write_task


@pytest.fixture
def task(tmp_path) -> TaskSpec:
    return write_task(tmp_path, "qa", rows=12)


def part(task: TaskSpec, rows: list[int]) -> EvaluatedSplit:
    table: pa.Table = read_split(task, "train")
    tokens = window_features(
        table, task, tokenizer("bert"), max_length=14, doc_stride=3, with_spans=True
    )
    return EvaluatedSplit(task, "train", tokens, np.array(rows))


def test_references_are_the_chosen_rows_in_their_order(task: TaskSpec) -> None:
    references = part(task, [2, 3, 7]).references
    rows = [qa_row(number) for number in (2, 3, 7)]
    assert references.contexts == tuple(row["context"] for row in rows)
    assert references.targets == tuple(tuple(row["answers"]["text"]) for row in rows)


def test_windows_are_those_of_the_chosen_rows_and_numbered_by_them(task: TaskSpec) -> None:
    chosen = part(task, [2, 3, 7])
    windows = chosen.references.windows
    assert windows is not None
    assert len(windows.rows) == len(windows.spans) == len(chosen.items)
    assert len(windows.rows) > 3
    rows = chosen.tokens.rows[chosen.items]
    assert [[2, 3, 7][place] for place in windows.rows] == rows.tolist()
    for place, spans in zip(windows.rows, windows.spans, strict=True):
        context = chosen.references.contexts[place]
        inside = spans[spans[:, 0] >= 0]
        assert {context[a:b] for a, b in inside} <= set(context.split())


def test_means_are_over_the_chosen_items(task: TaskSpec) -> None:
    chosen = part(task, [2, 3])
    lengths = [len(spans) for spans in chosen.references.windows.spans]
    assert chosen.mean_length == pytest.approx(sum(lengths) / len(lengths))
    assert chosen.mean_target_length == 0.0

"""Windows: nothing of a context is lost, answers are found, spans map back to the text."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apt_core.data.tasks import TaskSpec
from apt_core.data.tokenized import TokenizedSplit
from apt_core.data.windows import NO_ANSWER, answer_tokens, window_features
from apt_core.errors import DataError
from tests.tiny_tasks import answers, qa_row, text, tokenizer

TASK = TaskSpec("tiny", "x", ("question", "context"), kind="qa")
TOKENIZERS = {family: tokenizer(family) for family in ("bert", "roberta")}
ROWS = [qa_row(number) for number in range(12)]


def windows(rows: list[dict[str, Any]], family: str = "bert", **changes: Any) -> TokenizedSplit:
    arguments = {"max_length": 14, "doc_stride": 3, "with_spans": True, **changes}
    return window_features(pa.Table.from_pylist(rows), TASK, TOKENIZERS[family], **arguments)


@pytest.mark.parametrize("family", TOKENIZERS)
@pytest.mark.parametrize("stride", [0, 3, 100])
def test_the_windows_of_a_row_hold_its_whole_context(family: str, stride: int) -> None:
    split = windows(ROWS, family, doc_stride=stride)
    assert sorted(set(split.rows.tolist())) == list(range(len(ROWS)))
    assert split.rows.tolist() == sorted(split.rows.tolist())
    for number, row in enumerate(ROWS):
        seen: list[str] = []
        for item in np.flatnonzero(split.rows == number):
            spans = split.ragged["spans"][item]
            inside = spans[spans[:, 0] >= 0]
            assert len(split.input_ids[item]) == len(spans) <= 14
            seen += [row["context"][start:stop] for start, stop in inside]
        assert set(seen) == set(row["context"].split())


@pytest.mark.parametrize("family", TOKENIZERS)
def test_windows_overlap_by_the_stride(family: str) -> None:
    row = {"question": "w1", "context": text(0, 30), "answers": answers("")}
    spans = windows([row], family).ragged["spans"]
    first, second = spans[0], spans[1]
    shared = {tuple(span) for span in first.tolist()} & {tuple(span) for span in second.tolist()}
    assert len(shared - {(-1, -1)}) == 3


@pytest.mark.parametrize("family", TOKENIZERS)
def test_every_window_is_the_question_and_a_piece_of_the_context(family: str) -> None:
    tokens = TOKENIZERS[family]
    split = windows(ROWS, family)
    for item, number in enumerate(split.rows):
        spans = split.ragged["spans"][item]
        inside = spans[spans[:, 0] >= 0]
        row = ROWS[number]
        piece = row["context"][inside[0, 0] : inside[-1, 1]]
        expected = tokens(row["question"], piece)
        assert split.input_ids[item].tolist() == expected["input_ids"]
        if "token_type_ids" in expected:
            assert split.ragged["token_type_ids"][item].tolist() == expected["token_type_ids"]


@pytest.mark.parametrize("family", TOKENIZERS)
def test_positions_point_at_the_answer_where_the_window_holds_it(family: str) -> None:
    split = windows(ROWS, family)
    starts, stops = split.fixed["start_positions"], split.fixed["end_positions"]
    found = set()
    for item, number in enumerate(split.rows.tolist()):
        spans, row = split.ragged["spans"][item], ROWS[number]
        assert (starts[item] > 0) == (stops[item] > 0)
        if starts[item]:
            answer = row["context"][spans[starts[item], 0] : spans[stops[item], 1]]
            assert answer == row["answers"]["text"][0]
            found.add(number)
    assert found == {number for number, row in enumerate(ROWS) if row["answers"]["text"]}
    assert split.trainable.all()


# "w1 w2" in spans of words of two letters: tokens 0 and 1 are outside the context.
SPANS = np.array([[-1, -1], [-1, -1], [0, 2], [3, 5], [6, 8], [-1, -1]])


@pytest.mark.parametrize(
    ("answer", "tokens"),
    [
        ((0, 2), (2, 2)),
        ((3, 8), (3, 4)),
        ((4, 5), (3, 3)),  # inside a word: the whole word
        ((1, 7), (2, 4)),
        ((0, 9), NO_ANSWER),  # goes on after the window
        ((2, 3), NO_ANSWER),  # a blank
        (None, NO_ANSWER),
    ],
)
def test_an_answer_is_the_tokens_that_it_touches(answer: Any, tokens: tuple[int, int]) -> None:
    assert answer_tokens(SPANS, answer) == tokens


def test_an_answer_that_begins_before_the_window_is_not_in_it() -> None:
    assert answer_tokens(SPANS + 10 * (SPANS >= 0), (8, 12)) == NO_ANSWER
    assert answer_tokens(np.full((4, 2), -1), (0, 1)) == NO_ANSWER


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.text(alphabet="ab c.\n\u00e9\u4e2d", min_size=1, max_size=60),
    st.data(),
    st.sampled_from(sorted(TOKENIZERS)),
)
def test_spans_map_back_to_any_text(context: str, data: st.DataObject, family: str) -> None:
    start = data.draw(st.integers(0, len(context) - 1))
    stop = data.draw(st.integers(start + 1, len(context)))
    found = {"text": [context[start:stop]], "answer_start": [start]}
    row = {"question": "w1", "context": context, "answers": found}
    split = windows([row], family, max_length=100)
    first, last = split.fixed["start_positions"][0], split.fixed["end_positions"][0]
    if first:
        spans = split.ragged["spans"][0]
        covered = context[spans[first, 0] : spans[last, 1]]
        assert context[start:stop].strip() in covered
    else:
        assert not split.trainable[0]


def test_rows_that_would_teach_a_wrong_no_are_not_trained_on() -> None:
    context = text(0, 20)
    rows = [
        {"question": "w1", "context": context, "answers": answers(context, "w3")},
        {"question": "w1", "context": context, "answers": answers(context)},
        {"question": "w1", "context": context, "answers": {"text": ["w3"], "answer_start": [1]}},
        {"question": "w1", "context": context, "answers": answers(context, text(2, 16))},
    ]
    split = windows(rows)
    trainable = {row: split.trainable[split.rows == row].tolist() for row in range(4)}
    assert all(all(values) == any(values) for values in trainable.values())
    # Misplaced, and longer than any window.
    assert [values[0] for values in trainable.values()] == [True, True, False, False]


def test_blanks_around_an_answer_do_not_count() -> None:
    context = text(0, 5)
    found = {"text": [" w2 "], "answer_start": [context.index(" w2 ")]}
    split = windows([{"question": "w1", "context": context, "answers": found}])
    spans = split.ragged["spans"][0]
    assert context[slice(*spans[split.fixed["start_positions"][0]])] == "w2"


def test_long_and_short_questions_keep_their_order() -> None:
    rows = [{**ROWS[number % 4], "question": text(0, 1 + 4 * (number % 2))} for number in range(8)]
    split = windows(rows, max_length=12)
    assert split.rows.tolist() == sorted(split.rows.tolist())
    alone = [windows([row], max_length=12).num_items for row in rows]
    assert np.bincount(split.rows).tolist() == alone


@pytest.mark.parametrize(("family", "specials"), [("bert", 3), ("roberta", 4)])
def test_a_question_longer_than_the_window_is_named(family: str, specials: int) -> None:
    row = {**ROWS[1], "question": text(0, 14 - specials)}
    message = (
        rf'^data.datasets.tiny: the question in row 1, column "question", has {14 - specials} '
        r"tokens and leaves no room .* data.max_length=14 tokens; raise data.max_length, or"
    )
    with pytest.raises(DataError, match=message):
        windows([ROWS[0], row], family)
    assert windows([{**row, "question": text(0, 13 - specials)}], family).num_items > 1


def test_spans_are_kept_only_when_asked_for(tmp_path: Path) -> None:
    assert "spans" not in windows(ROWS, with_spans=False).ragged

"""Question answering with an encoder: overlapping windows over the context, and answers in them."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from apt_core.data.checks import field, misplaced_rows
from apt_core.data.tasks import TaskSpec
from apt_core.data.tokenized import IntArray, Ragged, TokenizedSplit
from apt_core.data.vocabulary import check_is_fast
from apt_core.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK = 1000
NO_ANSWER = (0, 0)
"""Position of the <s> or [CLS] token: the answer is not in this window."""
OUTSIDE = -1
"""Both ends of the span of a token that is not in the context."""


@dataclass(frozen=True)
class Window:
    """One window: the question, and a piece of the context."""

    row: int
    ids: Sequence[int]
    type_ids: Sequence[int]
    spans: IntArray
    """(tokens, 2): character span of every token in the context, `OUTSIDE` elsewhere."""


def window_features(
    table: "pa.Table",
    task: TaskSpec,
    tokenizer: Any,
    *,
    max_length: int,
    doc_stride: int,
    with_spans: bool,
) -> TokenizedSplit:
    """Cut the rows of a qa split into windows.

    A row is trainable unless an answer of its is not at its place, or its first answer fits into no
    window: its windows would teach that there is no answer.

    Args:
        table: Rows that `check_split` let pass.
        task: The dataset.
        tokenizer: A fast Hugging Face tokenizer.
        max_length: Tokens of a window at most.
        doc_stride: Tokens that two windows of a row share, at most half of the room that the
            question leaves.
        with_spans: Whether the spans are kept.

    Returns:
        The windows, in the order of rows and contexts.

    Raises:
        DataError: When a question leaves no room for its context.
    """
    check_is_fast(tokenizer)
    answers = [_first_answer(row) for row in table[task.label_column].to_pylist()]
    windows = list(_windows(table, task, tokenizer, max_length, doc_stride))
    positions = np.array([answer_tokens(w.spans, answers[w.row]) for w in windows])
    rows = np.array([window.row for window in windows], dtype=np.int64)
    found = np.array([answer is None for answer in answers])
    found[rows[positions[:, 0] > 0]] = True
    ragged = {"input_ids": Ragged.of([window.ids for window in windows])}
    if "token_type_ids" in tokenizer.model_input_names:
        ragged["token_type_ids"] = Ragged.of([window.type_ids for window in windows])
    if with_spans:
        ragged["spans"] = Ragged.of([window.spans for window in windows], width=2)
    return TokenizedSplit(
        ragged=ragged,
        fixed={
            "rows": rows,
            "start_positions": positions[:, 0].astype(np.int64),
            "end_positions": positions[:, 1].astype(np.int64),
            "trainable": (found & ~misplaced_rows(table, task))[rows],
        },
    )


def _first_answer(answers: Mapping[str, Any]) -> tuple[int, int] | None:
    """Character span of the answer that is trained on, without blanks around it."""
    if not answers["text"]:
        return None
    text, start = answers["text"][0], answers["answer_start"][0]
    start += len(text) - len(text.lstrip())
    return start, start + len(text.strip())


def answer_tokens(spans: IntArray, answer: tuple[int, int] | None) -> tuple[int, int]:
    """First and last token of an answer.

    Args:
        spans: (tokens, 2), see `Window`.
        answer: Character span in the context; None: there is no answer.

    Returns:
        Their places, or `NO_ANSWER` when the answer is not in this window as a whole.
    """
    inside = np.flatnonzero(spans[:, 0] != OUTSIDE)
    if answer is None or len(inside) == 0:
        return NO_ANSWER
    start, stop = answer
    starts, stops = spans[inside, 0], spans[inside, 1]
    if start < starts[0] or stop > stops[-1]:
        return NO_ANSWER
    first = int(np.searchsorted(stops, start, side="right"))
    last = int(np.searchsorted(starts, stop, side="left")) - 1
    return (int(inside[first]), int(inside[last])) if first <= last else NO_ANSWER


def _windows(
    table: "pa.Table", task: TaskSpec, tokenizer: Any, max_length: int, doc_stride: int
) -> Iterator[Window]:
    questions, contexts = (table[name].to_pylist() for name in task.text_columns)
    specials = tokenizer.num_special_tokens_to_add(pair=True)
    for start in range(0, table.num_rows, CHUNK):
        chunk = range(start, min(start + CHUNK, table.num_rows))
        alone = tokenizer([questions[row] for row in chunk], add_special_tokens=False)["input_ids"]
        groups: dict[int, list[int]] = defaultdict(list)
        for row, question in zip(chunk, alone, strict=True):
            room = max_length - specials - len(question)
            if room < 1:
                raise DataError(_no_room(task, row, len(question), max_length))
            # A step of half the room at least: each window brings something new.
            groups[min(doc_stride, room // 2)].append(row)
        found = [
            window
            for stride, rows in groups.items()
            for window in _encoded(
                tokenizer,
                [questions[row] for row in rows],
                [contexts[row] for row in rows],
                rows,
                {"max_length": max_length, "stride": stride},
            )
        ]
        yield from sorted(found, key=lambda window: window.row)


def _no_room(task: TaskSpec, row: int, num_tokens: int, max_length: int) -> str:
    return (
        f'{field(task)}: the question in row {row}, column "{task.text_columns[0]}", has '
        f"{num_tokens} tokens and leaves no room for its context in windows of data.max_length="
        f"{max_length} tokens; raise data.max_length, or shorten or remove the row"
    )


def _encoded(
    tokenizer: Any,
    questions: list[str],
    contexts: list[str],
    rows: Sequence[int],
    lengths: Mapping[str, int],
) -> Iterator[Window]:
    encoded = tokenizer(
        questions,
        contexts,
        truncation="only_second",
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        **lengths,
    )
    samples = encoded["overflow_to_sample_mapping"]
    for sample, encoding in zip(samples, encoded.encodings, strict=True):
        spans = np.array(encoding.offsets, dtype=np.int32)
        spans[np.array([part != 1 for part in encoding.sequence_ids])] = OUTSIDE
        yield Window(rows[sample], encoding.ids, encoding.type_ids, spans)

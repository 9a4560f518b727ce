"""Spans against a brute-force search on random logits, and their rules by hand."""

import math
import random

import numpy as np
import pytest

from apt_core.data.references import References, Windows
from apt_core.evaluator.spans import NUM_BEST, SpanAnswer, best_spans
from tests.reference.squad_rules import best_span

CONTEXT = " ".join(f"word{i}" for i in range(40))
WORDS = [(6 * i if i < 10 else 60 + 7 * (i - 10)) for i in range(40)]


def word_span(index: int) -> tuple[int, int]:
    return WORDS[index], WORDS[index] + len(f"word{index}")


def random_split(seed: int):
    """Questions of one to three windows: special, question, context and end tokens."""
    draw, values = random.Random(seed), np.random.default_rng(seed)
    rows, spans, logits = [], [], []
    num_rows = draw.randint(1, 3)
    for row in range(num_rows):
        for _ in range(draw.randint(1, 3)):
            first = draw.randint(0, 30)
            inside = [word_span(i) for i in range(first, draw.randint(first + 1, 40))]
            outside = [(-1, -1)]
            spans.append(np.array(outside * draw.randint(1, 4) + inside + outside))
            width = len(spans[-1]) + draw.randint(0, 3)  # padding, which may have any logit
            logits.append(tuple(values.normal(size=width).astype(np.float32) * 3 for _ in "se"))
            rows.append(row)
    order = list(range(len(rows)))
    draw.shuffle(order)
    windows = Windows(tuple(rows[i] for i in order), tuple(spans[i] for i in order))
    contexts = (CONTEXT,) * num_rows
    return [logits[i] for i in order], References(((),) * num_rows, contexts, windows)


def test_the_best_span_is_the_one_that_trying_all_pairs_finds() -> None:
    with_span = 0
    for seed in range(1000):
        logits, references = random_split(seed)
        max_length = random.Random(seed).choice([1, 3, 30])
        found = best_spans(logits, references, max_answer_length=max_length)
        for row, answer in enumerate(found):
            windows = [
                (start.tolist(), end.tolist(), spans.tolist())
                for owner, spans, (start, end) in zip(
                    references.windows.rows, references.windows.spans, logits, strict=True
                )
                if owner == row
            ]
            text, margin = best_span(windows, CONTEXT, max_length, NUM_BEST)
            assert (answer.text, answer.null_margin) == (text, pytest.approx(margin)), seed
            with_span += bool(text)
    assert with_span > 1500


def one_window(start: list[float], end: list[float], **options: int) -> SpanAnswer:
    spans = np.array([(-1, -1), (-1, -1), word_span(0), word_span(1), word_span(2), (-1, -1)])
    references = References(((),), (CONTEXT,), Windows((0,), (spans,)))
    (answer,) = best_spans([(np.array(start), np.array(end))], references, **options)
    return answer


def test_question_tokens_and_backward_spans_are_no_answers() -> None:
    # The question (1) has the best start, word2 (4) the next; word0 (2), before it, ends best.
    answer = one_window([0.0, 9.0, 1.0, 0.0, 5.0, 0.0], [1.0, 9.0, 6.0, 0.0, 0.5, 0.0])
    assert answer.text == "word0"  # 1 + 6 beats word2..word2 at 5 + 0.5
    assert answer.null_margin == 1.0 - 7.0


def test_a_span_has_at_most_so_many_tokens() -> None:
    start, end = [0.0, 0.0, 5.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0, 5.0, 0.0]
    assert one_window(start, end).text == "word0 word1 word2"
    assert one_window(start, end, max_answer_length=3).text == "word0 word1 word2"
    assert one_window(start, end, max_answer_length=2).text == "word0 word1"


def test_an_answer_beyond_the_threshold_is_none() -> None:
    answer = SpanAnswer("cat", 0.5)
    assert answer.text_at(0.4) == ""
    assert answer.text_at(0.5) == "cat"
    assert answer.text_at(None) == "cat"


def test_a_window_without_context_has_no_answer() -> None:
    references = References(((),), ("",), Windows((0,), (np.array([(-1, -1)]),)))
    (answer,) = best_spans([(np.array([1.0]), np.array([1.0]))], references)
    assert answer == SpanAnswer("", math.inf)
    assert answer.text_at(None) == ""


def test_logits_must_fit_the_windows() -> None:
    logits, references = random_split(0)
    with pytest.raises(ValueError, match="zip"):
        best_spans(logits[1:], references)
    with pytest.raises(ValueError, match="need windows"):
        best_spans(logits, References(((),), (CONTEXT,)))

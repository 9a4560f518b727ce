"""From start and end logits of windows to one answer text per question."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from apt_core.data.references import References

FloatArray = npt.NDArray[np.floating[Any]]
WindowLogits = tuple[FloatArray, FloatArray]
"""Start and end logits of the tokens of one window."""

NUM_BEST = 20
"""How many start and end tokens of a window are considered."""


@dataclass(frozen=True)
class SpanAnswer:
    """The best answer to one question that is not empty, and what speaks against answering."""

    text: str
    """Empty where no window has an allowed span."""
    null_margin: float
    """Score of "no answer" minus the span's score; infinite without a span."""

    def text_at(self, threshold: float | None) -> str:
        """The answer under a null threshold; None: every question has an answer.

        Args:
            threshold: the margin beyond which the question counts as unanswerable.

        Returns:
            The text, empty for "unanswerable".
        """
        return "" if threshold is not None and self.null_margin > threshold else self.text


@dataclass(frozen=True)
class _Span:
    score: float
    text: str


_NO_SPAN = _Span(-math.inf, "")


def best_spans(
    logits: Sequence[WindowLogits], references: References, *, max_answer_length: int = 30
) -> list[SpanAnswer]:
    """The best span of every question over its windows, by the rules of the usual SQuAD script.

    A span's score is start logit + end logit. Per window the 20 best starts and ends are paired; a
    span must lie in the context, must not end before it starts, and has at most `max_answer_length`
    tokens. The score of "no answer" is the least start[0] + end[0] among the windows.

    Args:
        logits: per window; tokens beyond the window's own spans (padding) are ignored.
        references: contexts and windows of the split.
        max_answer_length: in tokens.

    Returns:
        One answer per row of the dataset.

    Raises:
        ValueError: the references have no windows, or not as many as there are logits.
    """
    windows = references.windows
    if windows is None:
        raise ValueError("the references of a question_answering head need windows, got none")
    best = [_NO_SPAN] * len(references.contexts)
    null_scores = [math.inf] * len(references.contexts)
    for row, spans, (start, end) in zip(windows.rows, windows.spans, logits, strict=True):
        null_scores[row] = min(null_scores[row], float(start[0]) + float(end[0]))
        found = _best_of_window(
            start[: len(spans)],
            end[: len(spans)],
            spans,
            references.contexts[row],
            max_answer_length,
        )
        best[row] = max(best[row], found, key=lambda span: span.score)
    return [
        SpanAnswer(span.text, null - span.score)
        for span, null in zip(best, null_scores, strict=True)
    ]


def _best_of_window(
    start: FloatArray, end: FloatArray, spans: Any, context: str, max_answer_length: int
) -> _Span:
    best = _NO_SPAN
    starts, ends = _best_tokens(start, spans), _best_tokens(end, spans)
    for first in starts:
        for last in ends:
            score = float(start[first]) + float(end[last])
            if not 0 <= last - first < max_answer_length or score <= best.score:
                continue
            text = context[spans[first][0] : spans[last][1]]
            if text:
                best = _Span(score, text)
    return best


def _best_tokens(logits: FloatArray, spans: Any) -> list[int]:
    """The best 20 tokens of a window, less those outside the context."""
    best = np.argsort(-logits, kind="stable")[:NUM_BEST]
    return [int(token) for token in best if spans[token][0] >= 0]

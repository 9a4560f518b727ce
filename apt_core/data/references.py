"""What predictions of an evaluation split are compared with: plain values."""

from dataclasses import dataclass
from typing import Any

from apt_core.data.token_cache import IntArray


@dataclass(frozen=True)
class Windows:
    """Where the windows of long contexts lie; question_answering head only."""

    rows: tuple[int, ...]
    """Window i belongs to dataset row rows[i]."""
    spans: tuple[IntArray, ...]
    """Per window (tokens, 2): the character span of every token in the row's context, (-1, -1) for
    tokens outside the context."""


@dataclass(frozen=True)
class References:
    """The expected values of an evaluation split."""

    targets: tuple[Any, ...]
    """By row: int class / float score / tuple[str, ...] of accepted answers (empty = unanswerable)
    / str summary or output."""
    contexts: tuple[str, ...] = ()
    """qa: by row."""
    windows: Windows | None = None

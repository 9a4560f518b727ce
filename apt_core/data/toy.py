"""The tasks of the embedded toy language, and their rows.

Stdlib only and deterministic: the same seed gives the same rows on every machine. docs/toy.md shows
examples and what a model scores on them.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from apt_core.data.toy_grammar import HALF, MIN_VALUE, Clause, ToyWriter

TOY_VERSION = 1
"""Raised when the language changes in a way that makes older weights or results incomparable."""
LABEL_NOISE = 0.04
"""Fraction of labels, in every split, that say the opposite of the sentence: the best score is
0.96."""
ONE_STATEMENT, DISTRACTED = 0.8, 0.3
"""How often a review makes one statement instead of two, and holds a distractor."""
Row = dict[str, Any]


def sentiment_text(rng: random.Random) -> Clause:
    """One review of one or two statements, with distractors between them."""
    while True:
        writer = ToyWriter(rng)
        statements = [writer.statement() for _ in range(1 if rng.random() < ONE_STATEMENT else 2)]
        value = sum(statement.value for statement in statements)
        if abs(value) < MIN_VALUE:
            continue
        if rng.random() < DISTRACTED:
            statements.insert(rng.randrange(len(statements) + 1), writer.distractor())
        return Clause(" . ".join(s.text for s in statements) + " .", value)


def sentiment_rows(seed: int) -> Iterator[Row]:
    """Endless labelled reviews, all different, as many positive as negative (before noise)."""
    rng = random.Random(f"toy sentiment {TOY_VERSION} {seed}")
    seen: set[str] = set()
    while True:
        wanted = rng.random() < HALF
        text, value = sentiment_text(rng)
        if (value > 0) != wanted or text in seen:
            continue
        seen.add(text)
        flipped = rng.random() < LABEL_NOISE
        yield {"sentence": text, "label": int(wanted != flipped)}


@dataclass(frozen=True)
class ToyTask:
    """One task of the toy language: who writes its rows, and what the rows look like."""

    generate: Callable[[int], Iterator[Row]]
    """seed -> endless rows, without ``idx``."""
    text_columns: tuple[str, ...]
    labels: tuple[str, ...]
    num_rows: Mapping[str, int]
    """Split -> rows. Splits are pieces of one stream, validation first: they share no row."""


TOY_TASKS: Mapping[str, ToyTask] = MappingProxyType(
    {
        "sentiment": ToyTask(
            generate=sentiment_rows,
            text_columns=("sentence",),
            labels=("negative", "positive"),
            num_rows=MappingProxyType({"validation": 1000, "train": 4000}),
        ),
    }
)


def toy_rows(task: str, seed: int = 0) -> dict[str, list[Row]]:
    """All rows of a toy task, by split.

    Args:
        task: A key of `TOY_TASKS`.
        seed: Other seeds give other rows of the same language; the packaged dataset is seed 0.

    Returns:
        Split -> rows with the columns of the task and ``idx``, numbered from 0 in every split.
    """
    stream = TOY_TASKS[task].generate(seed)
    return {
        split: [{**next(stream), "idx": idx} for idx in range(count)]
        for split, count in TOY_TASKS[task].num_rows.items()
    }

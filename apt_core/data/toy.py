"""The tasks of the embedded toy language, and their rows.

Stdlib only and deterministic: the same seed gives the same rows on every machine. docs/toy.md shows
examples and what a model scores on them.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from apt_core.data.toy_grammar import HALF, MIN_VALUE, TOY_VERSION, Clause, Row, ToyWriter
from apt_core.data.toy_instruction import instruction_rows
from apt_core.data.toy_pairs import PAIR_LABELS, pair_rows
from apt_core.data.toy_qa import qa_rows
from apt_core.data.toy_summary import summary_rows

LABEL_NOISE = 0.04
"""Fraction of labels, in every split, that say the opposite of the sentence: the best score is
0.96."""
NUM_ROWS: Mapping[str, int] = MappingProxyType({"validation": 1000, "train": 4000})
ONE_STATEMENT, DISTRACTED = 0.8, 0.3
"""How often a review makes one statement instead of two, and holds a distractor."""


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
    labels: tuple[str, ...] = ()
    """Class names; of classification tasks only."""
    kind: str = "classification"
    num_rows: Mapping[str, int] = field(default_factory=lambda: NUM_ROWS)
    """Split -> rows. Splits are pieces of one stream, validation first: they share no row."""


TOY_TASKS: Mapping[str, ToyTask] = MappingProxyType(
    {
        "sentiment": ToyTask(
            generate=sentiment_rows,
            text_columns=("sentence",),
            labels=("negative", "positive"),
        ),
        "pairs": ToyTask(
            generate=pair_rows,
            text_columns=("premise", "hypothesis"),
            labels=PAIR_LABELS,
        ),
        "qa": ToyTask(generate=qa_rows, text_columns=("question", "context"), kind="qa"),
        "summary": ToyTask(generate=summary_rows, text_columns=("document",), kind="summarization"),
        "instruction": ToyTask(
            generate=instruction_rows,
            text_columns=("instruction", "input"),
            kind="instruction",
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

"""The unlabelled corpus of the toy language, which the packaged weights were pretrained on."""

import random
from collections.abc import Iterator

from apt_core.data import toy_words as words
from apt_core.data.toy_grammar import GRADED, HALF, MIN_VALUE, TOY_VERSION, ToyWriter

PLAIN, VERDICT = 0.25, 0.8
"""Fractions of the texts that are plain, and that close with a verdict."""
ONE_STATEMENT, DISTRACTED = 0.7, 0.2
"""How often a text that is not plain makes one statement instead of two, and holds a distractor."""


def corpus_text(rng: random.Random) -> str:
    """One unlabelled text by an author who either liked it or did not, often closed by a verdict.

    Sentences agree in sentiment, so a masked polar word can be told from its neighbours: in a plain
    text by looking at them, elsewhere only when negation, intensity and contrast are understood.
    This is what pretraining teaches.
    """
    writer = ToyWriter(rng)
    positive = rng.random() < HALF
    write = plain_sentences if rng.random() < PLAIN else composed_sentences
    sentences = write(writer, positive=positive)
    if rng.random() < VERDICT:
        sentences.append(writer.verdict(positive=positive))
    return " . ".join(sentences) + " ."


def plain_sentences(writer: ToyWriter, *, positive: bool) -> list[str]:
    """A list of two or three adjectives of one sign: "the room was cosy , tidy and lovely"."""
    rng = writer.rng
    lists = [adjectives for adjectives, strength in GRADED if (strength > 0) == positive]
    adjectives = [rng.choice(rng.choice(lists)) for _ in range(rng.choice((2, 3)))]
    return [
        f"the {rng.choice(writer.nouns)} was {' , '.join(adjectives[:-1])} and {adjectives[-1]}"
    ]


def composed_sentences(writer: ToyWriter, *, positive: bool) -> list[str]:
    """One or two statements of one sign, in a fifth of the texts with a distractor between them."""
    sentences = []
    for _ in range(1 if writer.rng.random() < ONE_STATEMENT else 2):
        statement = writer.statement()
        while statement.value * (1 if positive else -1) < MIN_VALUE:
            statement = writer.statement()
        sentences.append(statement.text)
    if writer.rng.random() < DISTRACTED:
        sentences.insert(writer.rng.randrange(len(sentences) + 1), writer.distractor().text)
    return sentences


def corpus(num_texts: int, seed: int = 0) -> Iterator[str]:
    """The unlabelled corpus that the packaged weights were pretrained on."""
    rng = random.Random(f"toy corpus {TOY_VERSION} {seed}")
    return (corpus_text(rng) for _ in range(num_texts))


def vocabulary() -> tuple[str, ...]:
    """Every word of the language, sorted."""
    groups: list[tuple[str, ...]] = [
        value for value in vars(words).values() if isinstance(value, tuple)
    ]
    groups += [*words.TOPICS.values(), tuple(words.INTENSIFIERS)]
    return tuple(sorted({word for group in groups for phrase in group for word in phrase.split()}))


def polar_words() -> tuple[str, ...]:
    """The words that praise or blame, verdicts included."""
    adjectives = tuple(word for group, _ in GRADED for word in group)
    verbs = (*words.POSITIVE_VERBS, *words.NEGATIVE_VERBS)
    return (*adjectives, *verbs, *words.POSITIVE_VERDICTS, *words.NEGATIVE_VERDICTS)

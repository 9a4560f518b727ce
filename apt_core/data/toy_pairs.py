"""The task ``pairs``: what a review says, of one thing or in sum, and what follows. Stdlib only."""

import random
from collections.abc import Iterator
from typing import NamedTuple

from apt_core.data import toy_words as words
from apt_core.data.toy_facts import coin, noun_of, opinion_about
from apt_core.data.toy_grammar import GRADED, TOY_VERSION, Clause, Row, ToyWriter, contrast

PAIR_LABELS = ("entailment", "neutral", "contradiction")
ENTAILMENT, NEUTRAL, CONTRADICTION = range(3)
ABOUT_A_THING = 0.6
"""How often a hypothesis is about one thing ("the soup was lovely") and not the verdict on all."""
SILENT, ONE_OPINION = 0.2, 0.4
"""How often a premise has no opinion at all, and one; otherwise two that contrast."""
DISTRACTED = 0.6
"""How often a premise with an opinion holds a distractor too."""


class Premise(NamedTuple):
    """A text, what it says about each of its things, and in sum."""

    text: str
    value: float
    said: dict[str, float]
    """Thing -> value of the opinion on it; 0 where the text says nothing about how it was."""
    nouns: tuple[str, ...]


def premise_of(rng: random.Random) -> Premise:
    """One or two opinions, with a distractor before or after them, or a distractor alone."""
    writer = ToyWriter(rng)
    kind = rng.random()
    if kind < SILENT:
        distractor = writer.distractor()
        return Premise(f"{distractor.text} .", 0.0, silent(distractor, writer), writer.nouns)
    opinions = [opinion_about(writer, positive=coin(rng))]
    said = {noun_of(opinions[0].text, writer.nouns): opinions[0].value}
    if kind > SILENT + ONE_OPINION:
        opinions.append(opinion_about(writer, positive=coin(rng), other_than=tuple(said)))
        said[noun_of(opinions[1].text, writer.nouns)] = opinions[1].value
    statement = opinions[0]
    if len(opinions) > 1:
        connective = rng.choice((*words.LATER_WINS, *words.FIRST_LOSES))
        statement = contrast(connective, opinions[0], opinions[1], fronted=coin(rng))
    sentences = [statement.text]
    if rng.random() < DISTRACTED:
        distractor = writer.distractor()
        sentences.insert(rng.randrange(2), distractor.text)
        said = silent(distractor, writer) | said
    return Premise(" . ".join(sentences) + " .", statement.value, said, writer.nouns)


def silent(distractor: Clause, writer: ToyWriter) -> dict[str, float]:
    """The things of a distractor: nothing is said about how they were."""
    return {word: 0.0 for word in distractor.text.split() if word in writer.nouns}


def hypothesis_of(rng: random.Random, premise: Premise) -> tuple[str, int]:
    """A plain opinion on a thing, or a verdict, and whether it follows from the premise."""
    positive = coin(rng)
    if rng.random() < ABOUT_A_THING:
        others = [noun for noun in premise.nouns if noun not in premise.said]
        noun = rng.choice((*premise.said, rng.choice(others)))
        groups = [adjectives for adjectives, sign in GRADED if (sign > 0) == positive]
        text = f"the {noun} was {rng.choice(rng.choice(groups))} ."
        value = premise.said.get(noun, 0.0)
    else:
        verdicts = words.POSITIVE_VERDICTS if positive else words.NEGATIVE_VERDICTS
        text, value = f"in short a {rng.choice(verdicts)} .", premise.value
    if value == 0.0:
        return text, NEUTRAL
    return text, ENTAILMENT if (value > 0) == positive else CONTRADICTION


def pair_rows(seed: int) -> Iterator[Row]:
    """Endless premises with hypotheses, all different, a third of each class."""
    rng = random.Random(f"toy pairs {TOY_VERSION} {seed}")
    seen: set[tuple[str, str]] = set()
    while True:
        wanted = rng.randrange(len(PAIR_LABELS))
        label = None
        while label != wanted:
            premise = premise_of(rng)
            hypothesis, label = hypothesis_of(rng, premise)
        pair = (premise.text, hypothesis)
        if pair in seen:
            continue
        seen.add(pair)
        yield {"premise": premise.text, "hypothesis": hypothesis, "label": label}

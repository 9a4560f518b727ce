"""The unlabelled corpus of the toy T5 and LLaMA: texts that come back to what they said.

A story is a body (opinions of one sign, facts and what says nothing, in any order) and a tail that
restates parts of it. Whoever predicts the tail must look things up, copy them and know what the
opinions come to. No question, instruction or label occurs.
"""

import random
from collections.abc import Iterator
from itertools import islice, repeat
from typing import NamedTuple

from apt_core.data.toy import toy_rows
from apt_core.data.toy_corpus import composed_sentences, plain_sentences
from apt_core.data.toy_facts import Cast, Fact, coin, event, handling, small_cast
from apt_core.data.toy_grammar import GRADED, HALF, TOY_VERSION, ToyWriter

PLAIN, VERDICT, REWORDED = 0.25, 0.7, 0.3
"""How often the opinions are a plain list, and a tail holds a verdict and a reworded opinion."""
NUM_FACTS, NUM_RESTATED = (0, 1, 2, 2, 3), (1, 1, 2)
SMALL_CAST = 0.6
"""How often the facts of a story share names, days and places."""


class Story(NamedTuple):
    """One text in two parts; every sentence is closed by " ."."""

    body: tuple[str, ...]
    tail: tuple[str, ...]

    @property
    def text(self) -> str:
        """The whole."""
        return " . ".join((*self.body, *self.tail)) + " ."


def restated(rng: random.Random, fact: Fact) -> str:
    """A fact again, in one of several orders, with or without its day."""
    plain = f"{fact.who} {fact.verb} the {fact.what}"
    return rng.choice(
        (
            fact.text,
            plain,
            f"on {fact.day} {plain}",
            f"the {fact.what} {fact.who} {fact.verb} on {fact.day}",
            f"it was {fact.who} on {fact.day}",
        )
    )


def story(rng: random.Random) -> Story:
    """One story."""
    writer, positive = ToyWriter(rng), coin(rng)
    write = plain_sentences if rng.random() < PLAIN else composed_sentences
    opinions = write(writer, positive=positive)
    cast = small_cast(rng) if rng.random() < SMALL_CAST else Cast()
    facts = [
        event(rng, cast) if coin(rng) else handling(rng, writer.nouns, cast)
        for _ in range(rng.choice(NUM_FACTS))
    ]
    body = [*opinions, *(fact.text for fact in facts)]
    rng.shuffle(body)
    tail = [
        restated(rng, rng.choice(facts)) if facts and rng.random() > HALF / 2 else rng.choice(body)
        for _ in range(rng.choice(NUM_RESTATED))
    ]
    if rng.random() < VERDICT:
        tail.append(writer.verdict(positive=positive))
    if rng.random() < REWORDED:
        tail.append(reworded(writer, positive=positive))
    rng.shuffle(tail)
    return Story(tuple(body), tuple(tail))


def reworded(writer: ToyWriter, *, positive: bool) -> str:
    """A plain opinion that agrees with the rest of its story."""
    groups = [adjectives for adjectives, strength in GRADED if (strength > 0) == positive]
    adjectives = writer.rng.choice(groups)
    return f"the {writer.rng.choice(writer.nouns)} was {writer.rng.choice(adjectives)}"


def stories(num_stories: int, seed: int = 0) -> Iterator[Story]:
    """The unlabelled corpus that the packaged T5 and LLaMA were pretrained on.

    Stories with a sentence that is a review of the packaged task ``sentiment`` are left out: a
    verdict in their tail would be its label.
    """
    rng = random.Random(f"toy stories {TOY_VERSION} {seed}")
    reviews = {row["sentence"] for rows in toy_rows("sentiment").values() for row in rows}
    made = (story(rng) for _ in repeat(None))
    unlabelled = (s for s in made if reviews.isdisjoint(f"{text} ." for text in s.body + s.tail))
    return islice(unlabelled, num_stories)

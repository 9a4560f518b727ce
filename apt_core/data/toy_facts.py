"""What happens in the toy language: who did what on which day. Stdlib only."""

import random
from collections.abc import Sequence
from typing import NamedTuple

from apt_core.data import toy_words as words
from apt_core.data.toy_grammar import HALF, Clause, ToyWriter


class Fact(NamedTuple):
    """Somebody did something with a thing, or was at a place, on a day."""

    who: str
    verb: str
    what: str
    day: str

    @property
    def text(self) -> str:
        """The sentence that states it: "anna visited the station on monday"."""
        return f"{self.who} {self.verb} the {self.what} on {self.day}"


class Cast(NamedTuple):
    """Who and what the facts of a text may be about: with few of each, facts share their parts."""

    names: Sequence[str] = words.NAMES
    days: Sequence[str] = words.DAYS
    places: Sequence[str] = words.PLACES


def small_cast(rng: random.Random) -> Cast:
    """Three names, three days and three places."""
    groups = (words.NAMES, words.DAYS, words.PLACES)
    return Cast(*(rng.sample(group, 3) for group in groups))


def event(rng: random.Random, cast: Cast | None = None) -> Fact:
    """Somebody was at a place."""
    cast = cast or Cast()
    who, day = rng.choice(cast.names), rng.choice(cast.days)
    return Fact(who, rng.choice(words.NEUTRAL_VERBS), rng.choice(cast.places), day)


def handling(rng: random.Random, nouns: Sequence[str], cast: Cast | None = None) -> Fact:
    """Somebody did something with a thing."""
    cast = cast or Cast()
    who, day = rng.choice(cast.names), rng.choice(cast.days)
    return Fact(who, rng.choice(words.HANDLING_VERBS), rng.choice(nouns), day)


def noun_of(text: str, nouns: Sequence[str]) -> str:
    """The thing that a clause is about: its first noun of the topic."""
    return next(word for word in text.split() if word in nouns)


def opinion_about(writer: ToyWriter, *, positive: bool, other_than: Sequence[str] = ()) -> Clause:
    """An opinion of one sign on a thing that is none of `other_than`."""
    while True:
        clause = writer.opinion()
        if (clause.value > 0) == positive and noun_of(clause.text, writer.nouns) not in other_than:
            return clause


def coin(rng: random.Random) -> bool:
    """True in half of the cases."""
    return rng.random() < HALF

"""The grammar of the toy language: clauses with a value, and how clauses combine. Stdlib only."""

import random
from typing import Any, NamedTuple

from apt_core.data import toy_words as words

TOY_VERSION = 1
"""Raised when the language changes in a way that makes older weights or results incomparable."""
Row = dict[str, Any]
"""One row of a task, by column."""

GRADED = (
    (words.WEAK_POSITIVE, 1.0),
    (words.STRONG_POSITIVE, 2.0),
    (words.WEAK_NEGATIVE, -1.0),
    (words.STRONG_NEGATIVE, -2.0),
)
"""Adjectives and their strength."""

HALF = 0.5
BARE, NEGATED = 0.5, 0.25
"""How often an adjective has no intensifier, and an opinion has a negator."""
MIN_VALUE = 0.25
"""Texts with a weaker total than this are thrown away: their label would be a coin toss."""
SINGLE, SUMMED = 0.6, 0.1
"""How often a statement is one opinion, and two with "and"; otherwise it is a contrast."""


class Clause(NamedTuple):
    """A piece of text and what it says: value > 0 praises, value < 0 blames, 0 says nothing."""

    text: str
    value: float


def opinion_value(strength: float, intensity: float = 1.0, *, negated: bool = False) -> float:
    """``strength * intensity``; times -1/2 if negated ("not awful" is faint praise)."""
    value = strength * intensity
    return -0.5 * value if negated else value


def contrast(connective: str, first: Clause, second: Clause, *, fronted: bool = False) -> Clause:
    """Join two clauses by a contrast: one of them counts, the other is conceded.

    Args:
        connective: A word of `LATER_WINS` ("A but B": B counts) or `FIRST_LOSES`.
        first: The clause that is conceded, A.
        second: The clause that counts, B.
        fronted: Whether a conceding connective opens the text ("although A , B") or stands between
            ("B although A").

    Returns:
        The joined clause, with the value of B.
    """
    if connective in words.LATER_WINS:
        return Clause(f"{first.text} {connective} {second.text}", second.value)
    if fronted:
        return Clause(f"{connective} {first.text} , {second.text}", second.value)
    return Clause(f"{second.text} {connective} {first.text}", second.value)


class ToyWriter:
    """Writes clauses about one topic, drawing every choice from `rng`."""

    def __init__(self, rng: random.Random) -> None:
        """Pick a topic; all clauses of this writer are about it."""
        self.rng = rng
        self.nouns = words.TOPICS[rng.choice(tuple(words.TOPICS))]

    def opinion(self) -> Clause:
        """One opinion on one thing: "the soup was not very fresh", "mia loved the chef"."""
        form = self.rng.choices(
            (self._copula, self._attribute, self._thought, self._feeling), (4, 2, 2, 2)
        )[0]
        return form()

    def statement(self) -> Clause:
        """One opinion, or two joined by a contrast or by "and"."""
        kind = self.rng.random()
        if kind < SINGLE:
            return self.opinion()
        first, second = self.opinion(), self.opinion()
        if kind < SINGLE + SUMMED:
            return Clause(f"{first.text} and {second.text}", first.value + second.value)
        connective = self.rng.choice((*words.LATER_WINS, *words.FIRST_LOSES))
        return contrast(connective, first, second, fronted=self._coin())

    def distractor(self) -> Clause:
        """A clause that says nothing about how it was, though it may hold a polar word."""
        form = self.rng.choices((self._neutral, self._hope, self._comparison), (4, 3, 3))[0]
        return Clause(form(), 0.0)

    def verdict(self, *, positive: bool) -> str:
        """The closing sentence of an unlabelled text."""
        nouns = words.POSITIVE_VERDICTS if positive else words.NEGATIVE_VERDICTS
        return f"in short a {self.rng.choice(nouns)}"

    def _adjective(self) -> tuple[str, float]:
        adjectives, strength = self.rng.choice(GRADED)
        return self.rng.choice(adjectives), strength

    def _graded(self) -> tuple[str, float]:
        """An adjective, in half of the cases with an intensifier before it, and its value."""
        adjective, strength = self._adjective()
        if self.rng.random() < BARE:
            return adjective, strength
        intensifier = self.rng.choice(tuple(words.INTENSIFIERS))
        return f"{intensifier} {adjective}", opinion_value(
            strength, words.INTENSIFIERS[intensifier]
        )

    def _negator(self, choices: tuple[str, ...]) -> str:
        """A negator and a blank or nothing."""
        return f"{self.rng.choice(choices)} " if self.rng.random() < NEGATED else ""

    def _coin(self) -> bool:
        return self.rng.random() < HALF

    def _noun(self) -> str:
        return self.rng.choice(self.nouns)

    def _copula(self) -> Clause:
        graded, value = self._graded()
        negator = self._negator(words.NEGATORS)
        text = f"the {self._noun()} was {negator}{graded}"
        return Clause(text, opinion_value(value, negated=bool(negator)))

    def _attribute(self) -> Clause:
        graded, value = self._graded()
        negator = self._negator(words.NEGATORS)
        text = f"it was {negator}a {graded} {self._noun()}"
        return Clause(text, opinion_value(value, negated=bool(negator)))

    def _thought(self) -> Clause:
        graded, value = self._graded()
        negator = self._negator(words.VERB_NEGATORS)
        text = f"{self.rng.choice(words.NAMES)} {negator}thought the {self._noun()} {graded}"
        return Clause(text, opinion_value(value, negated=bool(negator)))

    def _feeling(self) -> Clause:
        sign, verbs = self.rng.choice(((1.0, words.POSITIVE_VERBS), (-1.0, words.NEGATIVE_VERBS)))
        verb = self.rng.choice(verbs)
        value = sign * (2.0 if verb in words.STRONG_VERBS else 1.0)
        negator = self._negator(words.VERB_NEGATORS)
        text = f"{self.rng.choice(words.NAMES)} {negator}{verb} the {self._noun()}"
        return Clause(text, opinion_value(value, negated=bool(negator)))

    def _neutral(self) -> str:
        name, day = self.rng.choice(words.NAMES), self.rng.choice(words.DAYS)
        if self._coin():
            verb, place = self.rng.choice(words.NEUTRAL_VERBS), self.rng.choice(words.PLACES)
            return f"{name} {verb} the {place} on {day}"
        return f"{name} {self.rng.choice(words.HANDLING_VERBS)} the {self._noun()} on {day}"

    def _hope(self) -> str:
        who, hope = self.rng.choice((*words.NAMES, "we")), self.rng.choice(words.HOPES)
        return f"{who} {hope} the {self._noun()} to be {self._graded()[0]}"

    def _comparison(self) -> str:
        return f"it was unlike the {self._noun()} which was {self._graded()[0]}"

"""The task ``instruction``: simple things to do with a text. Stdlib only."""

import random
from collections.abc import Callable, Iterator

from apt_core.data import toy_words as words
from apt_core.data.toy_facts import coin, event, handling
from apt_core.data.toy_grammar import (
    BARE,
    GRADED,
    MIN_VALUE,
    NEGATED,
    TOY_VERSION,
    Row,
    ToyWriter,
)

NUMBERS = ("one", "two", "three", "four")
Instruction = tuple[str, str, str]
"""Instruction, input, output."""


def sentences_of(rng: random.Random, count: int) -> list[str]:
    """Sentences in which somebody does something, or says how it was."""
    writer = ToyWriter(rng)
    return [
        handling(rng, writer.nouns).text if coin(rng) else writer.opinion().text
        for _ in range(count)
    ]


def joined(sentences: list[str]) -> str:
    """A text."""
    return " . ".join(sentences) + " ."


def name_part(rng: random.Random) -> Instruction:
    """Name the day or the place of the one event of a text."""
    fact, writer = event(rng), ToyWriter(rng)
    sentences = [fact.text, *(writer.opinion().text for _ in range(rng.choice((1, 2))))]
    rng.shuffle(sentences)
    part, value = rng.choice((("day", fact.day), ("place", fact.what)))
    return f"name the {part}", joined(sentences), value


def list_names(rng: random.Random) -> Instruction:
    """List the people of a text, in order."""
    while True:
        text = joined(sentences_of(rng, rng.choice((2, 3))))
        names = [word for word in text.split() if word in words.NAMES]
        if names and len(set(names)) == len(names):
            return "list all names", text, " , ".join(names)


def judge_text(rng: random.Random) -> Instruction:
    """Say how it was, according to a text with one statement."""
    writer = ToyWriter(rng)
    statement = writer.statement()
    while abs(statement.value) < MIN_VALUE:
        statement = writer.statement()
    sentences = [statement.text, *([writer.distractor().text] if coin(rng) else [])]
    rng.shuffle(sentences)
    verdict = "good" if statement.value > 0 else "bad"
    return "say whether it was good or bad", joined(sentences), verdict


def judge_words(rng: random.Random) -> Instruction:
    """Say what a phrase means; there is no input."""
    adjectives, strength = rng.choice(GRADED)
    phrase = rng.choice(adjectives)
    if rng.random() >= BARE:
        phrase = f"{rng.choice(tuple(words.INTENSIFIERS))} {phrase}"
    negated = rng.random() < NEGATED
    phrase = f"{rng.choice(words.NEGATORS)} {phrase}" if negated else phrase
    verdict = "good" if (strength > 0) != negated else "bad"
    return f"say whether {phrase} is good or bad", "", verdict


def repeat_words(rng: random.Random) -> Instruction:
    """Repeat the first or last two or three words of a sentence, in order or reversed."""
    (sentence,) = sentences_of(rng, 1)
    number, reverse = rng.choice((2, 3)), coin(rng)
    end = rng.choice(("first", "last"))
    chosen = sentence.split()[:number] if end == "first" else sentence.split()[-number:]
    verb = "reverse" if reverse else "repeat"
    output = " ".join(reversed(chosen) if reverse else chosen)
    return f"{verb} the {end} {NUMBERS[number - 1]} words", f"{sentence} .", output


def repeat_sentence(rng: random.Random) -> Instruction:
    """Repeat one sentence of two or three."""
    sentences = sentences_of(rng, rng.choice((2, 3)))
    which = rng.choice(("first", "second", "last"))
    index = {"first": 0, "second": 1, "last": -1}[which]
    return f"repeat the {which} sentence", joined(sentences), f"{sentences[index]} ."


def count_sentences(rng: random.Random) -> Instruction:
    """Count the sentences of a text."""
    number = rng.randint(1, 4)
    return "count the sentences", joined(sentences_of(rng, number)), NUMBERS[number - 1]


WRITERS: tuple[Callable[[random.Random], Instruction], ...] = (
    name_part,
    list_names,
    judge_text,
    judge_words,
    repeat_words,
    repeat_sentence,
    count_sentences,
)


def instruction_rows(seed: int) -> Iterator[Row]:
    """Endless instructions, all different, each kind as often as the others."""
    rng = random.Random(f"toy instruction {TOY_VERSION} {seed}")
    seen: set[tuple[str, str]] = set()
    while True:
        instruction, text, output = rng.choice(WRITERS)(rng)
        if (instruction, text) in seen:
            continue
        seen.add((instruction, text))
        yield {"instruction": instruction, "input": text, "output": output}

"""The task ``summary``: what happened and how it was, without what does not matter. Stdlib only."""

import random
from collections.abc import Iterator

from apt_core.data import toy_words as words
from apt_core.data.toy_facts import coin, event, handling, noun_of
from apt_core.data.toy_grammar import MIN_VALUE, TOY_VERSION, Clause, Row, ToyWriter

VERY = 2.0
"""An opinion of at least this size is summed up as "very good" or "very bad"."""
DISTRACTORS = (1, 2, 3)


def statement_on_one_thing(writer: ToyWriter) -> tuple[Clause, str]:
    """An opinion or a contrast, and the thing that its counting clause is about."""
    while True:
        statement = writer.statement()
        if " and " in statement.text or abs(statement.value) < MIN_VALUE:
            continue
        return statement, noun_of(counting_clause(statement.text), writer.nouns)


def counting_clause(text: str) -> str:
    """The clause of a contrast that decides its value; the text itself where nothing contrasts."""
    for word in words.LATER_WINS:
        text = text.partition(f" {word} ")[2] or text
    for word in words.FIRST_LOSES:
        if text.startswith(f"{word} "):
            return text.partition(" , ")[2]
        text = text.partition(f" {word} ")[0]
    return text


def grade(value: float) -> str:
    """The gist of an opinion in one or two words."""
    return ("very " if abs(value) >= VERY else "") + ("good" if value > 0 else "bad")


def summary_row(rng: random.Random) -> Row:
    """A document of three to five sentences and its summary.

    The summary keeps where somebody was (not the day) and the grade of the thing that the statement
    is about; things that people had in hand, hopes and comparisons are left out.
    """
    writer = ToyWriter(rng)
    fact = event(rng)
    statement, thing = statement_on_one_thing(writer)
    sentences = [fact.text, statement.text]
    for _ in range(rng.choice(DISTRACTORS)):
        if coin(rng):
            sentences.append(handling(rng, writer.nouns).text)
        else:
            sentences.append(_unsaid(writer))
    rng.shuffle(sentences)
    gist = f"{fact.who} {fact.verb} the {fact.what} . the {thing} was {grade(statement.value)} ."
    return {"document": " . ".join(sentences) + " .", "summary": gist}


def _unsaid(writer: ToyWriter) -> str:
    """A hope or a comparison."""
    while True:
        text = writer.distractor().text
        if " to be " in text or " which was " in text:
            return text


def summary_rows(seed: int) -> Iterator[Row]:
    """Endless documents with their summaries, all different."""
    rng = random.Random(f"toy summary {TOY_VERSION} {seed}")
    seen: set[str] = set()
    while True:
        row = summary_row(rng)
        if row["document"] in seen:
            continue
        seen.add(row["document"])
        yield row

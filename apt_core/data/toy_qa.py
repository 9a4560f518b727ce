"""The task ``qa``: SQuAD-shaped questions about a few sentences. Stdlib only.

The language has no word for who, what or when: "which" stands in the place of what is asked.
"""

import random
from collections.abc import Iterator, Sequence

from apt_core.data import toy_words as words
from apt_core.data.toy_facts import (
    Fact,
    coin,
    event,
    handling,
    noun_of,
    opinion_about,
    small_cast,
)
from apt_core.data.toy_grammar import TOY_VERSION, Row, ToyWriter

UNANSWERABLE = 0.2
"""Fraction of the questions that the context does not answer."""
ABOUT_OPINIONS = 0.4
"""Fraction of the questions that ask which thing was good or bad, not what happened."""
WHOLE_QUESTION = 0.4
"""How often a question about a fact gives all its other parts, and not just one of them."""
ASKED = ("who", "what", "day")


def fact_question(fact: Fact, asked: str, *, whole: bool) -> str:
    """Ask for one part of a fact by naming the others, or only some: "which one saw the soup"."""
    if asked == "who":
        end = f" on {fact.day}" if whole else ""
        return f"which one {fact.verb} the {fact.what}{end}"
    if asked == "what":
        return f"{fact.who} {fact.verb} which" + (f" on {fact.day}" if whole else "")
    return f"{fact.who} {fact.verb} the {fact.what} on which"


def matches(fact: Fact, other: Fact, asked: str, *, whole: bool) -> bool:
    """Whether a question about `fact` is one about `other` too: what is given is the same."""
    return fact_question(fact, asked, whole=whole) == fact_question(other, asked, whole=whole)


def located(sentences: Sequence[str], index: int, answer: str) -> dict[str, list[str] | list[int]]:
    """SQuAD's answers: the text, and where in the joined context it starts."""
    words_before = sentences[index].split()[: sentences[index].split().index(answer)]
    before = " . ".join([*sentences[:index], " ".join(words_before)])
    return {"text": [answer], "answer_start": [len(before) + bool(words_before)]}


def about_facts(rng: random.Random, *, answerable: bool) -> tuple[list[str], str, int, str]:
    """Three or four facts that share names, days and places, and a question about one of them.

    Args:
        rng: Draws every choice.
        answerable: Whether the facts hold the answer.

    Returns:
        Sentences, question, index of the sentence with the answer, answer; without an answer the
        index is -1.
    """
    writer, cast = ToyWriter(rng), small_cast(rng)
    things = rng.sample(writer.nouns, 3)
    facts = [
        event(rng, cast) if coin(rng) else handling(rng, things, cast)
        for _ in range(rng.choice((3, 4)))
    ]
    asked, whole = rng.choice(ASKED), rng.random() < WHOLE_QUESTION
    about = rng.randrange(len(facts))
    target = facts[about]
    if not answerable:
        # The context holds every word of the question, but not in one sentence.
        other = facts[about - 1]
        target = rng.choice(
            (
                target._replace(who=other.who),
                target._replace(day=other.day),
                target._replace(verb=other.verb, what=other.what),
            )
        )
    hits = [fact for fact in facts if matches(target, fact, asked, whole=whole)]
    sentences = [fact.text for fact in facts]
    question = fact_question(target, asked, whole=whole)
    if len(hits) != int(answerable):
        return about_facts(rng, answerable=answerable)
    if not answerable:
        return sentences, question, -1, ""
    return sentences, question, about, getattr(target, asked)


def about_opinions(rng: random.Random, *, answerable: bool) -> tuple[list[str], str, int, str]:
    """A good and a bad thing among other sentences, and which of them was one of the two.

    Args:
        rng: Draws every choice.
        answerable: Whether one thing is as asked; otherwise both are of the other sign.

    Returns:
        The same as `about_facts`.
    """
    writer, positive = ToyWriter(rng), coin(rng)
    first = opinion_about(writer, positive=positive == answerable)
    thing = noun_of(first.text, writer.nouns)
    second = opinion_about(writer, positive=not positive, other_than=(thing,))
    sentences = [first.text, second.text, writer.distractor().text]
    rng.shuffle(sentences)
    verdicts = words.POSITIVE_VERDICTS if positive else words.NEGATIVE_VERDICTS
    question = f"which was a {rng.choice(verdicts)}"
    if not answerable:
        return sentences, question, -1, ""
    return sentences, question, sentences.index(first.text), thing


def qa_rows(seed: int) -> Iterator[Row]:
    """Endless questions with their contexts, all different."""
    rng = random.Random(f"toy qa {TOY_VERSION} {seed}")
    seen: set[tuple[str, str]] = set()
    while True:
        answerable = rng.random() >= UNANSWERABLE
        make = about_opinions if rng.random() < ABOUT_OPINIONS else about_facts
        sentences, question, index, answer = make(rng, answerable=answerable)
        context = " . ".join(sentences) + " ."
        if (question, context) in seen:
            continue
        answers = located(sentences, index, answer) if answerable else located_nowhere()
        yield {
            "id": f"{seed}-{len(seen)}",
            "question": question,
            "context": context,
            "answers": answers,
        }
        seen.add((question, context))


def located_nowhere() -> dict[str, list[str] | list[int]]:
    """SQuAD v2's answers of a question that has none."""
    return {"text": [], "answer_start": []}

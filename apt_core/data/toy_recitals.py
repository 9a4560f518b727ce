"""What the toy LLaMA reads beside stories: texts that are recited, so that it learns to copy.

A recital is a body (sentences, or words without any sense) and a tail that gives parts of it
again: the whole, a beginning, an end, a piece backwards, or who, when and where. Of a story's tail
a model that only knows which words the text holds can guess much; of a recital's, hardly any.
No question, instruction or label occurs.
"""

import random
from collections.abc import Iterator
from itertools import islice, repeat

from apt_core.data import toy_words as words
from apt_core.data.toy import toy_rows
from apt_core.data.toy_corpus import vocabulary
from apt_core.data.toy_facts import event, handling
from apt_core.data.toy_grammar import TOY_VERSION, ToyWriter
from apt_core.data.toy_stories import Story

SENSELESS = 0.4
"""Fraction of the bodies that are words drawn at random."""
NUM_WORDS, NUM_SENTENCES, NUM_RECITED, MAX_PIECE = (4, 14), (1, 2, 3), (1, 2, 3), 4
KINDS = {"who": words.NAMES, "when": words.DAYS, "where": words.PLACES}
ALL_WORDS = vocabulary()


def body_of(rng: random.Random) -> list[str]:
    """What is recited."""
    if rng.random() < SENSELESS:
        return [" ".join(rng.choices(ALL_WORDS, k=rng.randint(*NUM_WORDS)))]
    writer = ToyWriter(rng)
    makers = (
        lambda: event(rng).text,
        lambda: handling(rng, writer.nouns).text,
        lambda: writer.opinion().text,
    )
    return [rng.choice(makers)() for _ in range(rng.choice(NUM_SENTENCES))]


def piece_of(rng: random.Random, sentence: str) -> str:
    """The beginning or the end of a sentence, or a piece of it backwards."""
    text = sentence.split()
    size = rng.randint(1, min(MAX_PIECE, len(text)))
    start = rng.randint(0, len(text) - size)
    return rng.choice(
        (
            f"' {' '.join(text[:size])} ... '",
            f"' ... {' '.join(text[-size:])} '",
            f"- {' '.join(reversed(text[start : start + size]))}",
        )
    )


def kinds_in(body: list[str]) -> list[str]:
    """Who, when and where, as far as it is said, in the order of the text."""
    text = " ".join(body).split()
    found = {kind: [word for word in text if word in group] for kind, group in KINDS.items()}
    return [f"{kind} ( {' , '.join(those)} )" for kind, those in found.items() if those]


def recital(rng: random.Random) -> Story:
    """One recital."""
    body = body_of(rng)
    ways = [f"text : {' . '.join(body)}", f"sentence : {rng.choice(body)}"]
    ways += [piece_of(rng, rng.choice(body)), *kinds_in(body)]
    return Story(tuple(body), tuple(rng.sample(ways, rng.choice(NUM_RECITED))))


def recitals(num_recitals: int, seed: int = 0) -> Iterator[Story]:
    """The recitals that the packaged LLaMA was pretrained on.

    Those of a text that the tasks ``sentiment`` and ``instruction`` hold are left out.
    """
    rng = random.Random(f"toy recitals {TOY_VERSION} {seed}")
    taken = {row["sentence"] for rows in toy_rows("sentiment").values() for row in rows}
    taken |= {row["input"] for rows in toy_rows("instruction").values() for row in rows}
    made = (recital(rng) for _ in repeat(None))
    return islice((r for r in made if f"{' . '.join(r.body)} ." not in taken), num_recitals)

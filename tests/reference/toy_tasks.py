"""Oracles of the toy tasks: they find label, answer and summary in the text alone."""

from collections.abc import Iterator

from apt_core.data import toy_words as words
from tests.reference.toy_language import NEGATORS, SILENT, STRENGTHS, clause_value, value_of

NOUNS = {noun for topic in words.TOPICS.values() for noun in topic}
JOINTS = {*words.LATER_WINS, *words.FIRST_LOSES, "and", ",", "."}


def clauses(text: str) -> Iterator[list[str]]:
    """The clauses of a text, word by word."""
    clause: list[str] = []
    for word in [*text.split(), "."]:
        if word not in JOINTS:
            clause.append(word)
        elif clause:
            yield clause
            clause = []


def values_of_things(text: str) -> dict[str, float]:
    """What a text says about each thing that it says something about."""
    found = {}
    for clause in clauses(text):
        value = clause_value(clause)
        if value:
            (thing,) = NOUNS & set(clause)
            found[thing] = value
    return found


def pair_label(premise: str, hypothesis: str) -> int:
    """0, 1, 2: entailment, neutral, contradiction."""
    tokens = hypothesis.split()
    if tokens[:3] == ["in", "short", "a"]:
        claimed = 1 if tokens[3] in words.POSITIVE_VERDICTS else -1
        said = value_of(premise)
    else:
        claimed = 1 if STRENGTHS[tokens[3]] > 0 else -1
        said = values_of_things(premise).get(tokens[1], 0.0)
    return 1 if said == 0 else (0 if said * claimed > 0 else 2)


def answers_of(question: str, context: str) -> list[str]:
    """Every answer that a context gives, in order."""
    sentences = context.removesuffix(" .").split(" . ")
    if question.startswith("which was a "):
        good = question.rsplit(maxsplit=1)[-1] in words.POSITIVE_VERDICTS
        things = {t: v for s in sentences for t, v in values_of_things(s).items()}
        return [thing for thing, value in things.items() if (value > 0) == good]
    asked = ["which" if word == "one" else word for word in question.split()]
    asked = asked[1:] if question.startswith("which one ") else asked
    answers = [answer_in(asked, sentence.split()) for sentence in sentences]
    return [answer for answer in answers if answer]


def answer_in(asked: list[str], sentence: list[str]) -> str:
    """What stands in the sentence where the question says "which"; empty where they differ."""
    if "the" not in asked:
        asked = " ".join(asked).replace("which", "the which").split()
    pairs = list(zip(asked, sentence, strict=False))
    if any(ask not in ("which", word) for ask, word in pairs):
        return ""
    return next(word for ask, word in pairs if ask == "which")


def summary_of(document: str) -> str:
    """Who was where, and how the thing was that the text is about."""
    sentences = document.removesuffix(" .").split(" . ")
    (visit,) = (s for s in sentences if set(words.NEUTRAL_VERBS) & set(s.split()))
    (judged,) = (s for s in sentences if value_of(f"{s} ."))
    (thing,) = winning(judged)
    value = value_of(f"{judged} .")
    gist = ("very " if abs(value) >= 2 else "") + ("good" if value > 0 else "bad")
    return f"{visit.rpartition(' on ')[0]} . the {thing} was {gist} ."


def winning(sentence: str) -> dict[str, float]:
    """The things of the clause that counts."""
    tokens = sentence.split()
    for index, token in enumerate(tokens):
        if token in words.FIRST_LOSES:
            kept = tokens[tokens.index(",") :] if index == 0 else tokens[:index]
            return values_of_things(" ".join(kept))
        if token in words.LATER_WINS:
            return values_of_things(" ".join(tokens[index:]))
    return values_of_things(sentence)


def followed(instruction: str, text: str) -> str:
    """What an instruction asks for."""
    order, sentences = instruction.split(), text.removesuffix(" .").split(" . ")
    tokens = [word for word in text.split() if word != "."]
    if order[0] == "count":
        return ("one", "two", "three", "four")[len(sentences) - 1]
    if order[0] in ("name", "list"):
        group = {"day": words.DAYS, "place": words.PLACES, "names": words.NAMES}[order[-1]]
        return " , ".join(word for word in tokens if word in group)
    if order[0] == "say":
        value = value_of(text) if text else phrase_value(order[2:-4])
        return "good" if value > 0 else "bad"
    if order[-1] == "sentence":
        return sentences[{"first": 0, "second": 1, "last": -1}[order[2]]] + " ."
    number = {"two": 2, "three": 3}[order[3]]
    chosen = tokens[:number] if order[2] == "first" else tokens[-number:]
    return " ".join(chosen[::-1] if order[0] == "reverse" else chosen)


def phrase_value(tokens: list[str]) -> float:
    """Value of an adjective with what stands before it."""
    assert not SILENT & set(tokens)
    return STRENGTHS[tokens[-1]] * (-1 if NEGATORS & set(tokens) else 1)

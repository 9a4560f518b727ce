"""Texts that are recited: everything in a tail stands in its body."""

import random

import pytest

from apt_core.data.toy import toy_rows
from apt_core.data.toy_prompts import prompt_vocabulary
from apt_core.data.toy_recitals import kinds_in, piece_of, recitals
from apt_core.data.toy_stories import Story

MARKS = {"'", "...", "-"}


def is_part(piece: list[str], text: list[str]) -> bool:
    return any(text[at : at + len(piece)] == piece for at in range(len(text)))


def test_the_same_seed_gives_the_same_recitals() -> None:
    assert list(recitals(20)) == list(recitals(30))[:20]
    assert list(recitals(20, seed=1)) != list(recitals(20))


@pytest.mark.parametrize("seed", range(40))
def test_a_piece_is_the_beginning_the_end_or_backwards(seed: int) -> None:
    text = ["one", "two", "three", "four", "five"]
    piece = piece_of(random.Random(seed), " ".join(text)).split()
    if piece[0] == "-":
        assert is_part(piece[:0:-1], text)
    elif piece[1] == "...":
        assert piece[2:-1] == text[-len(piece[2:-1]) :]
    else:
        assert piece[-2:] == ["...", "'"]
        assert piece[1:-2] == text[: len(piece) - 3]


def test_all_forms_of_pieces_occur() -> None:
    pieces = [piece_of(random.Random(seed), "one two three") for seed in range(40)]
    marks = {(text.split()[0], "... '" in text) for text in pieces}
    assert marks == {("'", True), ("'", False), ("-", False)}


def test_who_when_and_where_stand_in_the_order_of_the_text() -> None:
    body = ["leo crossed the park on monday", "anna saw the soup on sunday", "it was leo"]
    assert kinds_in(body) == [
        "who ( leo , anna , leo )",
        "when ( monday , sunday )",
        "where ( park )",
    ]
    assert kinds_in(["the soup was fresh"]) == []


def said_again(text: str, made: Story) -> bool:
    """Whether one entry of a tail is of one of the forms, and true of the body."""
    start, body = text.split(" ", maxsplit=1)[0], " . ".join(made.body)
    if start == "text":
        return text == f"text : {body}"
    if start == "sentence":
        return text.removeprefix("sentence : ") in made.body
    if start in ("who", "when", "where"):
        return text in kinds_in(list(made.body))
    plain = [word for word in text.split() if word not in MARKS]
    return is_part(plain[::-1] if start == "-" else plain, body.split())


def test_all_that_is_recited_stands_in_the_body() -> None:
    forms = set()
    for made in recitals(2000):
        for text in made.tail:
            assert said_again(text, made), made
            forms.add(text.split()[0])
    assert forms == {"text", "sentence", "who", "when", "where", "'", "-"}


def test_no_recited_text_is_one_of_a_task_and_all_words_are_known() -> None:
    taken = {row["sentence"] for rows in toy_rows("sentiment").values() for row in rows}
    taken |= {row["input"] for rows in toy_rows("instruction").values() for row in rows}
    known = set(prompt_vocabulary())
    for made in recitals(6000):
        assert " . ".join(made.body) + " ." not in taken
        assert set(made.text.split()) <= known

"""The question answering task, against a reader that knows only the text."""

from typing import Any

import pytest

from apt_core.data.toy import toy_rows
from apt_core.data.toy_facts import Fact
from apt_core.data.toy_qa import UNANSWERABLE, fact_question, located, located_nowhere, matches
from tests.reference.toy_tasks import answers_of

FACT = Fact("anna", "saw", "soup", "monday")


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return [row for split_rows in toy_rows("qa").values() for row in split_rows]


@pytest.mark.parametrize(
    ("asked", "whole", "question"),
    [
        ("who", True, "which one saw the soup on monday"),
        ("who", False, "which one saw the soup"),
        ("what", True, "anna saw which on monday"),
        ("what", False, "anna saw which"),
        ("day", True, "anna saw the soup on which"),
    ],
)
def test_which_stands_in_the_place_of_what_is_asked(asked: str, whole: bool, question: str) -> None:
    assert fact_question(FACT, asked, whole=whole) == question


def test_facts_match_when_all_that_is_given_is_the_same() -> None:
    other = FACT._replace(day="friday")
    assert matches(FACT, other, "who", whole=False)
    assert not matches(FACT, other, "who", whole=True)


def test_an_answer_is_located_in_its_own_sentence() -> None:
    sentences = ["anna saw the soup", "anna left"]
    assert located(sentences, 1, "anna") == {"text": ["anna"], "answer_start": [20]}
    assert located(sentences, 0, "soup") == {"text": ["soup"], "answer_start": [13]}
    assert located_nowhere() == {"text": [], "answer_start": []}


def test_every_question_has_the_one_answer_that_a_reader_finds(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        assert answers_of(row["question"], row["context"]) == row["answers"]["text"], row


def test_every_answer_starts_where_the_row_says(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        answers = row["answers"]
        for text, start in zip(answers["text"], answers["answer_start"], strict=True):
            assert row["context"][start : start + len(text) + 1] in (f"{text} ", f"{text}.")


def test_a_fifth_has_no_answer_and_rows_differ(rows: list[dict[str, Any]]) -> None:
    empty = sum(not row["answers"]["text"] for row in rows)
    assert empty / len(rows) == pytest.approx(UNANSWERABLE, abs=0.02)
    assert len({(row["question"], row["context"]) for row in rows}) == len(rows)
    assert len({row["id"] for row in rows}) == len(rows)


def test_the_words_of_an_unanswerable_question_are_all_in_its_context(
    rows: list[dict[str, Any]],
) -> None:
    empty = [r for r in rows if not r["answers"]["text"] and " a " not in r["question"]]
    assert len(empty) > 300
    for row in empty:
        assert set(row["question"].split()) - {"which", "one"} <= set(row["context"].split())

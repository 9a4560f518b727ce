"""The instruction task, against a reader that knows only the text."""

from collections import Counter
from typing import Any

import pytest

from apt_core.data.toy import toy_rows
from apt_core.data.toy_corpus import vocabulary
from apt_core.data.toy_instruction import WRITERS
from apt_core.data.toy_prompts import INSTRUCTION_WORDS
from tests.reference.toy_tasks import followed


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return [row for split_rows in toy_rows("instruction").values() for row in split_rows]


@pytest.mark.parametrize(
    ("instruction", "output"),
    [
        ("count the sentences", "two"),
        ("name the day", "monday"),
        ("list all names", "anna , leo"),
        ("reverse the first two words", "saw anna"),
        ("repeat the last three words", "leo enjoyed it"),
        ("repeat the second sentence", "leo enjoyed it ."),
        ("say whether it was good or bad", "good"),
    ],
)
def test_the_reader_follows_instructions(instruction: str, output: str) -> None:
    assert followed(instruction, "anna saw the soup on monday . leo enjoyed it .") == output


def test_a_phrase_is_judged_without_a_text() -> None:
    assert followed("say whether never very awful is good or bad", "") == "good"


def test_every_output_is_the_one_that_a_reader_gives(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        assert followed(row["instruction"], row["input"]) == row["output"], row


def test_kinds_are_equally_common_and_rows_differ(rows: list[dict[str, Any]]) -> None:
    kinds = Counter(
        (row["instruction"].split()[0].replace("reverse", "repeat"), row["input"] == "")
        for row in rows
    )
    assert kinds["name", False] / len(rows) == pytest.approx(1 / len(WRITERS), abs=0.03)
    assert kinds["say", True] / len(rows) == pytest.approx(1 / len(WRITERS), abs=0.03)
    assert len({(row["instruction"], row["input"]) for row in rows}) == len(rows)


def test_rows_use_the_language_and_the_words_of_instructions(rows: list[dict[str, Any]]) -> None:
    known = {*vocabulary(), *INSTRUCTION_WORDS}
    texts = (f"{row['instruction']} {row['input']} {row['output']}" for row in rows)
    assert {word for text in texts for word in text.split()} <= known

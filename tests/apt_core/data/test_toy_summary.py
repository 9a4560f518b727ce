"""The summary task, against a reader that knows only the text."""

from typing import Any

import pytest

from apt_core.data.toy import toy_rows
from apt_core.data.toy_summary import counting_clause, grade
from tests.reference.toy_tasks import summary_of


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return [row for split_rows in toy_rows("summary").values() for row in split_rows]


@pytest.mark.parametrize(
    "text",
    [
        "the soup was fresh but the menu was awful",
        "although the soup was fresh , the menu was awful",
        "the menu was awful while the soup was fresh",
        "the menu was awful",
    ],
)
def test_the_counting_clause_of_a_contrast_is_found(text: str) -> None:
    assert counting_clause(text) == "the menu was awful"


def test_the_grade_tells_sign_and_strength() -> None:
    graded = [grade(value) for value in (-2.0, -1.5, 0.25, 3.0)]
    assert graded == ["very bad", "bad", "good", "very good"]


def test_every_summary_is_the_one_that_a_reader_writes(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        assert summary_of(row["document"]) == row["summary"], row


def test_all_four_grades_are_common_and_documents_differ(rows: list[dict[str, Any]]) -> None:
    for text in ("was good .", "was bad .", "was very good .", "was very bad ."):
        assert sum(row["summary"].endswith(text) for row in rows) > len(rows) / 10
    assert len({row["document"] for row in rows}) == len(rows)

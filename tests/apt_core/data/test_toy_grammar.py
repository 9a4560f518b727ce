"""The rules of the toy language, by hand and against a reader that knows only the text."""

import pytest

from apt_core.data.toy_grammar import Clause, contrast, opinion_value
from tests.reference.toy_language import value_of

GOOD, BAD = Clause("the soup was fresh", 1.0), Clause("the menu was awful", -2.0)


def test_an_intensifier_scales_an_opinion() -> None:
    assert opinion_value(-2.0, 1.5) == -3.0


def test_negation_flips_and_halves_an_opinion() -> None:
    assert opinion_value(2.0, 1.5, negated=True) == -1.5
    assert opinion_value(-1.0, negated=True) == 0.5


@pytest.mark.parametrize(
    ("connective", "fronted", "text"),
    [
        ("but", False, "the soup was fresh but the menu was awful"),
        ("although", True, "although the soup was fresh , the menu was awful"),
        ("although", False, "the menu was awful although the soup was fresh"),
    ],
)
def test_a_contrast_keeps_the_value_of_the_clause_that_counts(
    connective: str, fronted: bool, text: str
) -> None:
    assert contrast(connective, GOOD, BAD, fronted=fronted) == Clause(text, -2.0)
    assert value_of(text + " .") == -2.0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("the soup was not very fresh .", -0.75),
        ("it was hardly a awful menu .", 1.0),
        ("mia never loved the chef .", -1.0),
        ("leo expected the soup to be awful . the soup was slightly fresh .", 0.5),
        ("it was unlike the menu which was awful .", 0.0),
        ("the soup was fresh and the menu was awful .", -1.0),
    ],
)
def test_the_reader_values_sentences_by_the_rules(text: str, value: float) -> None:
    assert value_of(text) == pytest.approx(value)

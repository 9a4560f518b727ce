"""Answer texts by hand, and against a second writing of the published rules."""

import random

import pytest

from apt_core.evaluator.squad import (
    BestThreshold,
    best_over_golds,
    best_threshold,
    exact_match,
    normalize_answer,
    squad_metrics,
    token_f1,
)
from tests.reference.squad_rules import scores

CASES = 3000
WORDS = ("a", "an", "the", "The", "A", "cat", "Cats", "1990s", "U.S.", "-", "'", ",", "(", "  ")
SIGNS = ("_", "\u00e9t\u00e9", "\u2013", "\n", "", "$3", "theory", "a-b", "\u00e9a")


def random_text(draw: random.Random) -> str:
    count = draw.choice([0, 1, 2, 3, 6])
    return "".join(draw.choice(WORDS + SIGNS) + draw.choice([" ", "", " "]) for _ in range(count))


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The  Cat, an \n animal.", "cat animal"),
        ("a-b", "ab"),
        ("U.S.A.", "usa"),
        ("theory", "theory"),
        ("the", ""),
        ("The The", ""),
        ("\u00e9t\u00e9 \u2013 a", "\u00e9t\u00e9 \u2013"),
    ],
)
def test_answers_are_normalised_by_hand(text: str, normal: str) -> None:
    assert normalize_answer(text) == normal


def test_words_are_counted_with_repetition() -> None:
    # given: big big dog; wanted: big dog barks: 2 shared, precision 2/3, recall 2/3
    assert token_f1("big big dog", "the big dog barks") == pytest.approx(2 / 3)
    assert token_f1("cat", "dog") == 0.0
    assert exact_match("The cat!", "cat") == 1.0


@pytest.mark.parametrize(
    ("answer", "golds", "expected"),
    [
        ("", [], 1.0),
        ("", ["the"], 1.0),  # an accepted answer without words makes no question answerable
        ("the", [], 1.0),
        ("cat", [], 0.0),
        ("", ["cat"], 0.0),
        ("cat", ["dog", "a cat"], 1.0),
    ],
)
def test_no_answer_is_right_where_there_is_none(
    answer: str, golds: list[str], expected: float
) -> None:
    assert best_over_golds(exact_match, answer, golds) == expected
    assert best_over_golds(token_f1, answer, golds) == expected


def test_random_texts_score_as_by_the_published_rules() -> None:
    draw = random.Random(0)
    answers, golds, expected = [], [], []
    for _ in range(CASES):
        gold = [random_text(draw) for _ in range(draw.randint(0, 3))]
        answer = random_text(draw)
        if gold and draw.random() < 0.7:
            answer = draw.choice(["", answer + " "]) + draw.choice(gold)
        exact, shared = scores(answer, gold)
        assert best_over_golds(exact_match, answer, gold) == exact, (answer, gold)
        assert best_over_golds(token_f1, answer, gold) == pytest.approx(shared), (answer, gold)
        answers.append(answer)
        golds.append(gold)
        expected.append((exact, shared))
    assert 0.2 < sum(e for e, _ in expected) / CASES < 0.9
    assert sum(0 < f < 1 for _, f in expected) > 0.05 * CASES
    means = squad_metrics(answers, golds)
    assert means["exact_match"] == pytest.approx(sum(e for e, _ in expected) / CASES)
    assert means["f1"] == pytest.approx(sum(f for _, f in expected) / CASES)
    answerable = [pair for pair, gold in zip(expected, golds, strict=True) if gold]
    assert 0 < len(answerable) < CASES
    assert means["has_answer_exact_match"] == pytest.approx(
        sum(e for e, _ in answerable) / len(answerable)
    )
    assert means["has_answer_f1"] == pytest.approx(sum(f for _, f in answerable) / len(answerable))


def test_each_kind_of_question_has_its_own_score() -> None:
    golds = [["big cat"], ["dog"], [], [], []]
    means = squad_metrics(["cat", "", "", "cow", ""], golds)
    assert means == pytest.approx(
        {
            "exact_match": 2 / 5,
            "f1": (2 / 3 + 2) / 5,
            "has_answer_exact_match": 0.0,
            "has_answer_f1": 1 / 3,
            "no_answer_accuracy": 2 / 3,
        }
    )


@pytest.mark.parametrize("golds", [[["cat"], ["dog"]], [[], []]])
def test_questions_of_one_kind_have_one_score(golds: list[list[str]]) -> None:
    assert set(squad_metrics(["cat", ""], golds)) == {"exact_match", "f1"}


def test_a_constant_silence_shows_as_nothing_learned() -> None:
    means = squad_metrics([""] * 4, [["cat"], [], [], []])
    assert means["f1"] == 0.75
    assert (means["has_answer_f1"], means["no_answer_accuracy"]) == (0.0, 1.0)


def test_no_questions_have_no_score() -> None:
    with pytest.raises(ValueError, match="no questions"):
        squad_metrics([], [])


def test_the_best_threshold_is_the_best_of_all_thresholds() -> None:
    draw = random.Random(1)
    for _ in range(1000):
        size = draw.randint(1, 8)
        answers = [draw.choice(["cat", "dog", "a big cat"]) for _ in range(size)]
        golds = [draw.choice([[], ["cat"], ["cat", "big dog"]]) for _ in range(size)]
        margins = [draw.choice([-1.0, 0.0, 0.5, draw.gauss(0, 1)]) for _ in range(size)]
        found = best_threshold(token_f1, answers, margins, golds)
        tried = {
            threshold: squad_metrics(
                [a if m <= threshold else "" for a, m in zip(answers, margins, strict=True)], golds
            )["f1"]
            for threshold in [min(margins) - 1.0, *margins]
        }
        assert found.value == pytest.approx(max(tried.values()))
        assert tried[found.threshold] == pytest.approx(found.value)


def test_where_no_answer_is_best_the_threshold_lies_below_all_margins() -> None:
    assert best_threshold(exact_match, ["x", "y"], [-2.0, 3.0], [[], []]) == BestThreshold(
        -3.0, 1.0
    )

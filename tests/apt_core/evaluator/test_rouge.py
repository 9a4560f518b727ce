"""ROUGE: values that the package gave once, and a plain second computation on random texts."""

import random
from collections import Counter
from functools import cache

import pytest

from apt_core.evaluator.rouge import rouge_metrics

GOLDEN = [
    # text, reference, rouge1, rouge2, rougeL as rouge-score 0.1.2 gave them
    (
        "The cats were sitting on mats.\nA dog barked.",
        "The cat sat on the mat.\nDogs were barking loudly.",
        14 / 19,
        2 / 17,
        14 / 19,  # "were" of the first line counts for the second: lines are united
    ),
    ("police killed the gunman", "police kill the gunman", 1.0, 1.0, 1.0),
    ("the gunman kill police", "police kill the gunman", 1.0, 1 / 3, 0.5),
    ("", "something", 0.0, 0.0, 0.0),
    ("!!!", "something", 0.0, 0.0, 0.0),
]


@pytest.mark.parametrize(("text", "reference", "rouge1", "rouge2", "rouge_l"), GOLDEN)
def test_known_texts_score_as_ever(text, reference, rouge1, rouge2, rouge_l) -> None:
    assert rouge_metrics([text], [reference]) == pytest.approx(
        {
            "rouge1": rouge1,
            "rouge2": rouge2,
            "rougeL": rouge_l,
            "rouge": (rouge1 + rouge2 + rouge_l) / 3,
        }
    )


def f_measure(hits: int, given: int, wanted: int) -> float:
    return 2 * hits / (given + wanted) if hits else 0.0


def n_gram_f(text: list[str], reference: list[str], n: int) -> float:
    given, wanted = (
        Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
        for words in (text, reference)
    )
    return f_measure((given & wanted).total(), given.total(), wanted.total())


def longest_common(one: list[str], other: list[str]) -> int:
    @cache
    def length(i: int, j: int) -> int:
        if i == len(one) or j == len(other):
            return 0
        if one[i] == other[j]:
            return 1 + length(i + 1, j + 1)
        return max(length(i + 1, j), length(i, j + 1))

    return length(0, 0)


def test_random_lines_score_as_counted_by_hand() -> None:
    draw = random.Random(0)
    partial = 0
    for _ in range(1000):
        # Digits have no stem.
        text, reference = (
            [str(draw.randrange(8)) for _ in range(draw.randint(0, 12))] for _ in "ab"
        )
        found = rouge_metrics([" ".join(text)], [" ".join(reference)])
        sizes = len(text), len(reference)
        expected = {
            "rouge1": n_gram_f(text, reference, 1),
            "rouge2": n_gram_f(text, reference, 2),
            "rougeL": f_measure(longest_common(text, reference), *sizes),
        }
        expected["rouge"] = sum(expected.values()) / 3
        assert found == pytest.approx(expected), (text, reference)
        partial += 0 < found["rouge2"] < found["rougeL"] < found["rouge1"]
    assert partial > 100


def test_the_order_of_lines_counts_less_than_the_order_of_words() -> None:
    swapped = rouge_metrics(["1 2 3\n4 5 6"], ["4 5 6\n1 2 3"])
    joined = rouge_metrics(["1 2 3 4 5 6"], ["4 5 6 1 2 3"])
    assert (swapped["rougeL"], joined["rougeL"]) == (1.0, 0.5)


def test_texts_are_averaged_and_must_be_there() -> None:
    assert rouge_metrics(["1 2", "3"], ["1 2", "4"])["rouge1"] == 0.5
    with pytest.raises(ValueError, match="no texts"):
        rouge_metrics([], [])
    with pytest.raises(ValueError, match="zip"):
        rouge_metrics(["1"], ["1", "2"])

"""The pairs task, against a reader that knows only the text."""

import random
from collections import Counter

import pytest

from apt_core.data import toy_words as words
from apt_core.data.toy import TOY_TASKS, toy_rows
from apt_core.data.toy_pairs import hypothesis_of, premise_of
from tests.reference.toy_language import value_of
from tests.reference.toy_tasks import pair_label, values_of_things


@pytest.fixture(scope="module")
def rows() -> list[dict[str, object]]:
    return [row for split_rows in toy_rows("pairs").values() for row in split_rows]


@pytest.mark.parametrize(
    ("hypothesis", "label"),
    [
        ("the menu was foggy .", 0),
        ("the menu was superb .", 2),
        ("the soup was superb .", 0),
        ("the chef was superb .", 1),
        ("in short a flop .", 0),
        ("in short a gem .", 2),
    ],
)
def test_the_reader_labels_pairs_by_the_rules(hypothesis: str, label: int) -> None:
    premise = "the soup was fresh but the menu was awful . leo feared the chef to be cold ."
    assert pair_label(premise, hypothesis) == label


def test_every_label_is_the_one_that_a_reader_finds(rows: list[dict[str, object]]) -> None:
    for row in rows:
        assert pair_label(str(row["premise"]), str(row["hypothesis"])) == row["label"], row


def test_a_premise_knows_what_it_says_about_its_things_and_in_sum() -> None:
    rng = random.Random(5)
    for _ in range(500):
        premise = premise_of(rng)
        assert value_of(premise.text) == pytest.approx(premise.value), premise
        said = {thing: value for thing, value in premise.said.items() if value}
        assert values_of_things(premise.text) == pytest.approx(said), premise
        text, label = hypothesis_of(rng, premise)
        assert pair_label(premise.text, text) == label


def test_the_classes_are_balanced_and_rows_differ(rows: list[dict[str, object]]) -> None:
    counts = Counter(row["label"] for row in rows)
    assert len(TOY_TASKS["pairs"].labels) == len(counts) == 3
    assert all(count / len(rows) == pytest.approx(1 / 3, abs=0.03) for count in counts.values())
    assert len({(row["premise"], row["hypothesis"]) for row in rows}) == len(rows)


def test_the_hypothesis_alone_does_not_tell_the_sign(rows: list[dict[str, object]]) -> None:
    verdicts = [row for row in rows if str(row["hypothesis"]).startswith("in short")]
    praising = [
        row["label"]
        for row in verdicts
        if str(row["hypothesis"]).split()[3] in words.POSITIVE_VERDICTS
    ]
    signed = [label for label in praising if label != 1]
    assert signed.count(0) / len(signed) == pytest.approx(0.5, abs=0.06)

"""The rows of the toy language, against a reader that knows only the text."""

import hashlib
import json
import random

import pytest

from apt_core.data import toy_words as words
from apt_core.data.toy import LABEL_NOISE, TOY_TASKS, sentiment_text, toy_rows
from apt_core.data.toy_corpus import corpus, vocabulary
from apt_core.data.toy_grammar import MIN_VALUE
from tests.reference.toy_language import value_of


@pytest.fixture(scope="module")
def rows() -> dict[str, list[dict[str, object]]]:
    return toy_rows("sentiment")


def test_every_written_text_has_the_value_that_a_reader_finds() -> None:
    rng = random.Random(7)
    for _ in range(2000):
        text, value = sentiment_text(rng)
        assert value_of(text) == pytest.approx(value), text
        assert abs(value) >= MIN_VALUE


def test_labels_follow_the_text_but_for_the_noise(rows: dict[str, list[dict[str, object]]]) -> None:
    for split_rows in rows.values():
        wrong = sum((value_of(str(r["sentence"])) > 0) != (r["label"] == 1) for r in split_rows)
        assert wrong / len(split_rows) == pytest.approx(LABEL_NOISE, abs=0.015)


def test_the_classes_are_balanced(rows: dict[str, list[dict[str, object]]]) -> None:
    labels = [row["label"] for row in rows["train"]]
    assert labels.count(1) / len(labels) == pytest.approx(0.5, abs=0.03)


def test_splits_have_their_size_and_share_no_sentence(
    rows: dict[str, list[dict[str, object]]],
) -> None:
    assert {s: len(r) for s, r in rows.items()} == dict(TOY_TASKS["sentiment"].num_rows)
    assert [row["idx"] for row in rows["validation"]] == list(range(1000))
    sentences = [row["sentence"] for split_rows in rows.values() for row in split_rows]
    assert len(set(sentences)) == len(sentences)


def test_the_same_seed_gives_the_same_rows_and_another_seed_others(
    rows: dict[str, list[dict[str, object]]],
) -> None:
    assert toy_rows("sentiment") == rows
    assert toy_rows("sentiment", seed=1)["train"][:5] != rows["train"][:5]


SENTIMENT_SHA256 = "3ac225916709275049d875d96618b5e1d40a9c30383aaf7cf542298f014ef7ed"


def test_the_sentiment_rows_are_those_that_the_weights_were_measured_on(
    rows: dict[str, list[dict[str, object]]],
) -> None:
    assert hashlib.sha256(json.dumps(rows).encode()).hexdigest() == SENTIMENT_SHA256


@pytest.mark.parametrize("task", sorted(TOY_TASKS))
def test_every_task_is_the_same_each_time_and_has_the_size_it_says(task: str) -> None:
    made = toy_rows(task)
    assert {s: len(r) for s, r in made.items()} == dict(TOY_TASKS[task].num_rows)
    assert toy_rows(task) == made
    assert toy_rows(task, seed=1)["train"][:5] != made["train"][:5]
    assert set(TOY_TASKS[task].text_columns) < set(made["train"][0])


@pytest.mark.parametrize("task", ["pairs", "qa"])
def test_tasks_that_an_encoder_reads_stay_inside_its_vocabulary(task: str) -> None:
    columns = TOY_TASKS[task].text_columns
    texts = [str(row[name]) for row in toy_rows(task)["train"] for name in columns]
    assert {word for text in texts for word in text.split()} <= set(vocabulary())


def test_rows_and_corpus_stay_inside_the_vocabulary(
    rows: dict[str, list[dict[str, object]]],
) -> None:
    known = set(vocabulary())
    texts = [str(row["sentence"]) for row in rows["train"]] + list(corpus(2000))
    assert {word for text in texts for word in text.split()} <= known


def test_no_labelled_row_holds_a_verdict(rows: dict[str, list[dict[str, object]]]) -> None:
    verdicts = {*words.POSITIVE_VERDICTS, *words.NEGATIVE_VERDICTS}
    assert not any(verdicts & set(str(row["sentence"]).split()) for row in rows["train"])

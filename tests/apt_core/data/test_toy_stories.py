"""The unlabelled stories."""

import random

from apt_core.data import toy_words as words
from apt_core.data.toy import toy_rows
from apt_core.data.toy_corpus import vocabulary
from apt_core.data.toy_facts import Fact
from apt_core.data.toy_grammar import ToyWriter
from apt_core.data.toy_stories import restated, reworded, stories
from tests.reference.toy_language import value_of


def test_the_same_seed_gives_the_same_stories() -> None:
    assert list(stories(20)) == list(stories(30))[:20]
    assert list(stories(20, seed=1)) != list(stories(20))


def test_verdicts_agree_with_what_the_body_says() -> None:
    checked = 0
    for story in stories(2000):
        verdicts = [text.split()[-1] for text in story.tail if text.startswith("in short a ")]
        # The reader takes one polar word in a clause, so plain lists are left out.
        if verdicts and not any(", " in text and " and " in text for text in story.body):
            value = value_of(" . ".join(story.body) + " .")
            assert (value > 0) == (verdicts[0] in words.POSITIVE_VERDICTS), story.text
            checked += 1
    assert checked > 500


def test_every_other_sentence_of_a_tail_uses_words_of_the_body_or_rewords_it() -> None:
    for story in stories(1000):
        known = {word for text in story.body for word in text.split()} | {"on", "it", "was", "the"}
        for text in story.tail:
            new = set(text.split()) - known
            is_plain_opinion = text.startswith("the ") and text.split()[2] == "was"
            assert not new or text.startswith("in short a ") or is_plain_opinion, story


def test_a_fact_is_restated_with_its_own_parts() -> None:
    fact = Fact("anna", "saw", "soup", "monday")
    made = {restated(random.Random(seed), fact) for seed in range(50)}
    assert made == {
        "anna saw the soup on monday",
        "anna saw the soup",
        "on monday anna saw the soup",
        "the soup anna saw on monday",
        "it was anna on monday",
    }


def test_a_reworded_opinion_has_the_sign_asked_for() -> None:
    writer = ToyWriter(random.Random(1))
    for positive in (True, False):
        assert (value_of(reworded(writer, positive=positive) + " .") > 0) == positive


def test_no_sentence_is_a_labelled_review_and_all_words_are_of_the_language() -> None:
    reviews = {row["sentence"] for rows in toy_rows("sentiment").values() for row in rows}
    known = set(vocabulary())
    for made in stories(6000):
        assert not reviews & {f"{text} ." for text in made.body + made.tail}
        assert set(made.text.split()) <= known


def test_no_story_is_a_document_or_a_context() -> None:
    labelled = {row["document"] for row in toy_rows("summary")["train"]}
    labelled |= {row["context"] for row in toy_rows("qa")["train"]}
    for made in stories(3000):
        assert made.text not in labelled
        assert " . ".join(made.body) + " ." not in labelled

"""The unlabelled corpus."""

from apt_core.data import toy_words as words
from apt_core.data.toy_corpus import corpus, polar_words, vocabulary
from tests.reference.toy_language import STRENGTHS, value_of


def test_the_same_seed_gives_the_same_texts() -> None:
    assert list(corpus(20)) == list(corpus(30))[:20]
    assert list(corpus(20, seed=1)) != list(corpus(20))


def test_polar_words_are_those_with_a_strength_and_the_verdicts() -> None:
    verdicts = {*words.POSITIVE_VERDICTS, *words.NEGATIVE_VERDICTS}
    assert set(polar_words()) == set(STRENGTHS) | verdicts
    assert set(polar_words()) < set(vocabulary())


def test_the_verdict_of_a_corpus_text_agrees_with_its_sentences() -> None:
    closed = [text for text in corpus(2000) if " in short a " in text and " , " not in text]
    assert len(closed) > 100
    for text in closed:
        body, verdict = text.removesuffix(" .").split(" . in short a ")
        if body.count(" was ") + body.count(" thought ") == 1 and " and " not in body:
            assert (value_of(body + " .") > 0) == (verdict in words.POSITIVE_VERDICTS), text

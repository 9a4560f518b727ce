"""Facts of the toy language."""

import random

from apt_core.data import toy_words as words
from apt_core.data.toy_facts import (
    Fact,
    coin,
    event,
    handling,
    noun_of,
    opinion_about,
    small_cast,
)
from apt_core.data.toy_grammar import ToyWriter


def test_a_fact_is_told_in_one_sentence() -> None:
    assert Fact("anna", "saw", "soup", "monday").text == "anna saw the soup on monday"


def test_facts_stay_inside_a_small_cast() -> None:
    rng = random.Random(1)
    cast = small_cast(rng)
    facts = [event(rng, cast) for _ in range(200)]
    assert {fact.who for fact in facts} == set(cast.names)
    assert {fact.day for fact in facts} == set(cast.days)
    assert {fact.what for fact in facts} == set(cast.places)
    assert len(cast.names) == len(cast.days) == len(cast.places) == 3
    assert {handling(rng, ("soup",), cast).who for _ in range(200)} == set(cast.names)


def test_events_are_at_places_and_handlings_with_things() -> None:
    rng = random.Random(2)
    for _ in range(200):
        assert event(rng).what in words.PLACES
        fact = handling(rng, ("soup", "menu"))
        assert fact.what in ("soup", "menu")
        assert fact.verb in words.HANDLING_VERBS


def test_an_opinion_has_the_wanted_sign_and_spares_the_things_named() -> None:
    rng = random.Random(3)
    for _ in range(100):
        writer, positive = ToyWriter(rng), coin(rng)
        clause = opinion_about(writer, positive=positive, other_than=writer.nouns[:7])
        assert (clause.value > 0) == positive
        assert noun_of(clause.text, writer.nouns) in writer.nouns[7:]

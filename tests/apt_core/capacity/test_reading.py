"""What is read off a model: how its layers compute, and which tables learn."""

import pytest

from apt_core.capacity.kept import Habits
from apt_core.capacity.reading import embeddings_of, habits_of
from apt_core.models.loading import build_model
from tests.tiny import VOCABULARY, default_head, tiny_config

HIDDEN, POSITIONS, TYPES = 16, 40, 2


def loaded(family: str, *, dropout: float = 0.1):
    return build_model(tiny_config(family, dropout=dropout), default_head(family))


@pytest.mark.parametrize(
    ("family", "habits"),
    [
        ("roberta", Habits("layer", "gelu", True, True, False)),
        ("distilbert", Habits("layer", "gelu", True, True, False)),
        ("t5-gated", Habits("rms", "gelu_new", True, True, True, upcasts_norm=True)),
        ("t5", Habits("rms", "relu", True, True, True, upcasts_norm=True)),
        ("llama", Habits("rms", "silu", False, True, False)),
    ],
)
def test_every_family_names_its_activation_and_its_dropouts(family: str, habits: Habits) -> None:
    assert habits_of(loaded(family)) == habits


def test_without_dropout_nothing_is_dropped() -> None:
    habits = habits_of(loaded("roberta", dropout=0.0))
    assert habits == Habits("layer", "gelu", False, False, False)


def test_frozen_tables_count_for_nothing_and_learning_ones_once() -> None:
    roberta = loaded("roberta")
    roberta.model.requires_grad_(False)
    assert embeddings_of(roberta).trained == 0
    roberta.model.requires_grad_(True)
    tables = embeddings_of(roberta)
    assert tables.trained == (VOCABULARY + POSITIONS + TYPES) * HIDDEN
    assert (tables.tied, tables.has_norm) == (0, True)


@pytest.mark.parametrize(
    ("family", "tied", "free"),
    [("llama", VOCABULARY, 0), ("llama-untied", 0, VOCABULARY), ("t5", VOCABULARY, 0)],
)
def test_a_table_that_the_head_shares_is_tied(family: str, tied: int, free: int) -> None:
    tables = embeddings_of(loaded(family))
    assert (tables.tied, tables.trained) == (tied * HIDDEN, free * HIDDEN)
    assert not tables.has_norm

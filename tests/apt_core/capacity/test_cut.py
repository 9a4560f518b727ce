"""The guess of a cut shape reaches its density, spends its budget and keeps the heads."""

import pytest

from apt_core.capacity.cut import guessed_cut
from tests.reference.structures import roberta_base


def dense():
    structure = roberta_base()
    return structure.with_ranks({})


@pytest.mark.parametrize("density", [0.2, 0.4, 0.7, 1.0])
def test_the_density_is_reached_from_below(density: float) -> None:
    cut = guessed_cut(dense(), density)
    assert density - 0.005 < cut.num_params() / dense().num_params() <= density


def test_heads_stay_and_the_rest_shrinks_alike() -> None:
    cut = guessed_cut(dense(), 0.4)
    assert {s.num_units for s in cut.of_kind("attention")} == {12}
    (neurons,) = {s.num_units for s in cut.of_kind("ffn")}
    assert neurons / 3072 == pytest.approx(cut.hidden_size / 768, abs=0.002)


def test_ranks_grow_until_the_budget_is_spent() -> None:
    from tests.reference.encoder_layer import encoder

    structure = encoder(2, rank=20)
    cut = guessed_cut(structure, 0.5, adapter_growth=4.0)
    # Ranks are whole numbers: within half a rank of 4 times the dense count.
    assert cut.num_adapter_params() == pytest.approx(4 * structure.num_adapter_params(), rel=0.02)
    assert guessed_cut(encoder(rank=0), 0.5, 4.0).num_adapter_params() == 0

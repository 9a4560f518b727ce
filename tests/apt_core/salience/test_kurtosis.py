"""The outlier term against plain Python: kurtosis per block, yardstick per family."""

import math
import weakref

import pytest
import torch

from apt_core.models.structure import Structure, SubBlock
from apt_core.pruner.search import BlockSalience
from apt_core.salience.kurtosis import add_outlier_term
from tests.reference.moments import excess_kurtosis

HIDDEN = 9
STRUCTURE = Structure(
    HIDDEN,
    (
        SubBlock("0.attention", "attention", 2, 4, 16, 12, 3),
        SubBlock("0.ffn", "ffn", 5, 1, 2, 1, 3),
        SubBlock("1.attention", "attention", 3, 4, 16, 12, 3),
        SubBlock("1.ffn", "ffn", 0, 1, 2, 1, 3),
        SubBlock("2.ffn", "ffn", 4, 1, 2, 1, 3),
    ),
)


def case(seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    units = {
        # Layers differ by orders of magnitude: a yardstick per sub-block would show.
        s.name: 10.0**i * torch.rand(s.num_units, generator=generator)
        for i, s in enumerate(STRUCTURE.sub_blocks)
    }
    blocks = BlockSalience(units, torch.rand(HIDDEN, generator=generator))
    means, weights = {}, {}
    for s in STRUCTURE.sub_blocks:
        if s.num_units > 0:
            channels = s.num_units * s.unit_width
            means[s.name] = torch.randn(channels, generator=generator)
            # Cubes have heavy tails: most kurtoses are positive.
            weights[s.name] = torch.randn(HIDDEN, channels, generator=generator) ** 3
    return blocks, means, weights


def root(values) -> float:
    return math.sqrt(max(excess_kurtosis([float(v) for v in values]), 0.0))


@pytest.mark.parametrize("weight", [0.5, 2.0])
def test_the_term_is_the_root_times_the_mean_of_the_whole_family(weight: float) -> None:
    blocks, means, weights = case()
    result = add_outlier_term(
        blocks, means, weights.__getitem__, structure=STRUCTURE, weight=weight
    )
    for kind in ("attention", "ffn"):
        family = STRUCTURE.of_kind(kind)
        salience = torch.cat([blocks.units[s.name] for s in family])
        yardstick = float(salience.double().mean())
        for s in family:
            for unit in range(s.num_units):
                span = slice(unit * s.unit_width, (unit + 1) * s.unit_width)
                products = (weights[s.name] * means[s.name])[:, span].flatten()
                expected = float(blocks.units[s.name][unit]) + weight * yardstick * root(products)
                actual = float(result.units[s.name][unit])
                assert actual == pytest.approx(expected, rel=1e-4)
    assert result.units["1.ffn"].shape == (0,)
    assert not torch.equal(result.units["0.ffn"], blocks.units["0.ffn"])


def test_a_hidden_dimension_adds_the_roots_of_all_that_write_to_it() -> None:
    blocks, means, weights = case()
    result = add_outlier_term(blocks, means, weights.__getitem__, structure=STRUCTURE, weight=2.0)
    yardstick = float(blocks.hidden.double().mean())
    for dim in range(HIDDEN):
        roots = sum(root((weights[name] * means[name])[dim]) for name in means)
        expected = float(blocks.hidden[dim]) + 2.0 * yardstick * roots
        assert float(result.hidden[dim]) == pytest.approx(expected, rel=1e-4)


def test_the_term_has_the_unit_of_the_salience() -> None:
    blocks, means, weights = case()
    scaled = BlockSalience({n: 1000 * v for n, v in blocks.units.items()}, 1000 * blocks.hidden)
    one = add_outlier_term(blocks, means, weights.__getitem__, structure=STRUCTURE, weight=1.0)
    other = add_outlier_term(scaled, means, weights.__getitem__, structure=STRUCTURE, weight=1.0)
    torch.testing.assert_close(other.hidden, 1000 * one.hidden)
    for name, values in one.units.items():
        torch.testing.assert_close(other.units[name], 1000 * values)


def test_a_sub_block_that_was_not_measured_keeps_its_salience() -> None:
    blocks, means, weights = case()
    del means["1.attention"]
    result = add_outlier_term(blocks, means, weights.__getitem__, structure=STRUCTURE, weight=1.0)
    assert torch.equal(result.units["1.attention"], blocks.units["1.attention"])
    assert (result.units["0.attention"] > blocks.units["0.attention"]).any()
    # It still counts in its family's yardstick.
    salience = torch.cat([blocks.units["0.attention"], blocks.units["1.attention"]])
    products = (weights["0.attention"] * means["0.attention"])[:, :4].flatten()
    expected = float(blocks.units["0.attention"][0]) + float(salience.mean()) * root(products)
    assert float(result.units["0.attention"][0]) == pytest.approx(expected, rel=1e-4)


def test_without_measurements_or_weight_the_salience_stays() -> None:
    blocks, means, weights = case()
    for result in (
        add_outlier_term(blocks, {}, weights.__getitem__, structure=STRUCTURE, weight=1.0),
        add_outlier_term(blocks, means, weights.__getitem__, structure=STRUCTURE, weight=0.0),
    ):
        assert torch.equal(result.hidden, blocks.hidden)
        assert all(torch.equal(result.units[n], blocks.units[n]) for n in blocks.units)


def test_weights_in_half_precision_are_measured_in_full() -> None:
    blocks, means, weights = case()
    half = {name: (matrix / 8).bfloat16() for name, matrix in weights.items()}
    full = {name: matrix.float() for name, matrix in half.items()}
    a = add_outlier_term(blocks, means, half.__getitem__, structure=STRUCTURE, weight=1.0)
    b = add_outlier_term(blocks, means, full.__getitem__, structure=STRUCTURE, weight=1.0)
    assert a.hidden.dtype is torch.float32
    assert torch.equal(a.hidden, b.hidden)


def test_every_weight_is_asked_for_once_and_let_go_before_the_next() -> None:
    blocks, means, weights = case()
    asked: list[str] = []
    given: list[weakref.ref[torch.Tensor]] = []

    def writer_weight(name: str) -> torch.Tensor:
        assert not any(reference() is not None for reference in given)
        asked.append(name)
        weight = weights[name].clone()
        given.append(weakref.ref(weight))
        return weight

    result = add_outlier_term(blocks, means, writer_weight, structure=STRUCTURE, weight=1.0)
    assert asked == list(means)
    expected = add_outlier_term(blocks, means, weights.__getitem__, structure=STRUCTURE, weight=1.0)
    assert torch.equal(result.hidden, expected.hidden)

"""Aligned widths: multiples, within the budget, and nothing that could still be given back."""

import random

import pytest

from apt_core.models.structure import Structure, SubBlock
from apt_core.pruner.align import aligned_counts, params_of, quantum_of


def structure_of(*, heads: int = 4, neurons: int = 40, hidden: int = 24) -> Structure:
    return Structure(
        hidden,
        (
            SubBlock("a", "attention", heads, 4, 16, 12, 3, sites={"q": 4, "k": 4, "o": 4}),
            SubBlock("f", "ffn", neurons, 1, 2, 1, 3, sites={"up": 1, "down": 1}),
        ),
    )


def test_a_quantum_is_what_makes_every_width_a_multiple() -> None:
    attention, ffn = structure_of().sub_blocks
    assert quantum_of(ffn, 8) == 8
    assert quantum_of(attention, 8) == 2  # two heads of 4 channels
    assert quantum_of(attention, 4) == 1
    wide = SubBlock("a", "attention", 4, 64, 256, 0, 0, sites={"q": 64, "k": 64})
    assert quantum_of(wide, 8) == 1
    # Grouped queries: the narrow keys decide.
    grouped = SubBlock("a", "attention", 4, 24, 64, 0, 0, sites={"q": 24, "k": 6, "o": 24})
    assert quantum_of(grouped, 8) == 4


def test_counts_are_rounded_down_and_the_rest_is_given_to_the_densest() -> None:
    structure = structure_of()
    densities = [[4.0] * 4, [3.0 - i / 40 for i in range(40)], [1.0 - i / 24 for i in range(24)]]
    # 3 heads, 21 neurons, 17 hidden: down to 2, 16, 16; with room for all three steps again.
    counts = aligned_counts(
        structure, [3, 21, 17], densities, budget=10_000, at_least=[0, 0, 0], round_to=8
    )
    assert counts == [4, 40, 24]
    tight = params_of(structure, [2, 16, 16])
    assert aligned_counts(
        structure, [3, 21, 17], densities, budget=tight, at_least=[0, 0, 0], round_to=8
    ) == [2, 16, 16]
    # Room for two more heads (2 * (16 * 16 + 12) = 536) but for nothing else: heads are densest.
    assert aligned_counts(
        structure, [3, 21, 17], densities, budget=tight + 536, at_least=[0, 0, 0], round_to=8
    ) == [4, 16, 16]


def test_what_keeps_everything_stays_whole_even_if_it_is_no_multiple() -> None:
    structure = structure_of(neurons=43)
    densities = [[1.0] * 4, [1.0] * 43, [1.0] * 24]
    counts = aligned_counts(
        structure, [4, 43, 16], densities, budget=0, at_least=[0, 0, 0], round_to=8
    )
    assert counts == [4, 43, 16]


@pytest.mark.parametrize("seed", range(200))
def test_aligned_counts_are_multiples_within_the_budget_and_maximal(seed: int) -> None:
    rng = random.Random(seed)
    structure = structure_of(
        heads=rng.randint(1, 9), neurons=rng.randint(1, 60), hidden=rng.randint(8, 40)
    )
    sizes = [s.num_units for s in structure.sub_blocks] + [structure.hidden_size]
    counts = [rng.randint(0, size) for size in sizes]
    densities = [sorted((rng.random() for _ in range(size)), reverse=True) for size in sizes]
    budget = params_of(structure, counts)
    round_to = rng.choice([2, 4, 8, 16])
    aligned = aligned_counts(
        structure, counts, densities, budget=budget, at_least=[0, 0, 0], round_to=round_to
    )
    quanta = [quantum_of(s, round_to) for s in structure.sub_blocks] + [round_to]
    assert params_of(structure, aligned) <= budget
    for count, quantum, size in zip(aligned, quanta, sizes, strict=True):
        assert count % quantum == 0 or count == size
    for group, (count, quantum, size) in enumerate(zip(aligned, quanta, sizes, strict=True)):
        if count < size:
            larger = list(aligned)
            larger[group] = min(size, count + quantum)
            assert params_of(structure, larger) > budget


def test_floors_are_rounded_up() -> None:
    structure = structure_of()
    densities = [[1.0] * 4, [1.0] * 40, [1.0] * 24]
    assert aligned_counts(
        structure, [0, 0, 8], densities, budget=0, at_least=[1, 3, 9], round_to=8
    ) == [2, 8, 16]

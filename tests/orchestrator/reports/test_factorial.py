import random
from itertools import product

import numpy as np
import pytest

from orchestrator.reports.factorial import Levels, all_levels, common_seeds, effects


def test_two_factors_by_hand() -> None:
    # y: none 1, b 2, a 4, both 9.
    responses: dict[Levels, dict[int, float]] = {
        (False, False): {7: 1.0},
        (False, True): {7: 2.0},
        (True, False): {7: 4.0},
        (True, True): {7: 9.0},
    }
    found = {effect.factors: effect.values.values for effect in effects(("a", "b"), responses)}
    # a: (4 + 9) / 2 - (1 + 2) / 2; b: (2 + 9) / 2 - (1 + 4) / 2; a x b: ((9 - 2) - (4 - 1)) / 2.
    assert found == {("a",): (5.0,), ("b",): (3.0,), ("a", "b"): (2.0,)}


def test_three_factors_agree_with_a_linear_model() -> None:
    draw = random.Random(1)
    levels = all_levels(3)
    responses = {cell: {seed: draw.gauss(0, 1) for seed in (1, 2, 3, 4)} for cell in levels}
    signs = np.array([[1 if on else -1 for on in cell] for cell in levels])
    for effect in effects(("a", "b", "c"), responses):
        chosen = ["abc".index(name) for name in effect.factors]
        for seed, value in zip((1, 2, 3, 4), effect.values.values, strict=True):
            design = np.array(
                [[np.prod(row[list(subset)]) for subset in _subsets()] for row in signs]
            )
            outcome = [responses[cell][seed] for cell in levels]
            coefficients = np.linalg.lstsq(design, outcome, rcond=None)[0]
            # An effect is twice the coefficient of a factor coded -1 and +1.
            assert value == pytest.approx(2 * coefficients[_subsets().index(tuple(chosen))])


def _subsets() -> list[tuple[int, ...]]:
    return [tuple(i for i in range(3) if on[i]) for on in product((False, True), repeat=3)]


def test_only_seeds_that_ran_everywhere_count() -> None:
    responses = {
        cell: {1: 0.0, 2: 1.0, **({3: 5.0} if all(cell) else {})} for cell in all_levels(2)
    }
    assert common_seeds(responses) == (1, 2)
    assert all(effect.values.n == 2 for effect in effects(("a", "b"), responses))
    responses[True, True] = {}
    assert all(effect.values.n == 0 for effect in effects(("a", "b"), responses))


def test_the_verdict_follows_the_interval() -> None:
    def main_effect(*values: float) -> str:
        responses: dict[Levels, dict[int, float]] = {
            (False,): dict.fromkeys(range(len(values)), 0.0),
            (True,): dict(enumerate(values)),
        }
        (effect,) = effects(("a",), responses)
        assert not effect.is_interaction
        return effect.verdict

    assert main_effect(1.0, 1.1, 0.9) == "raises"
    assert main_effect(-1.0, -1.1, -0.9) == "lowers"
    assert main_effect(1.0, -1.1, 0.9) == "within noise"
    assert main_effect(1.0) == "unknown"

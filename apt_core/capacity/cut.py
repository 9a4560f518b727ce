"""A guess of the shape that pruning leaves, for plans that are made before anything is pruned."""

import math
from dataclasses import replace

from apt_core.models.structure import Structure

_HALVINGS = 40


def guessed_cut(structure: Structure, density: float, adapter_growth: float = 1.0) -> Structure:
    """The dense model at a density: heads stay, neurons and hidden dimensions shrink alike.

    Which blocks go is decided by salience and not known before. APT mostly takes neurons and hidden
    dimensions, whose salience per parameter is lowest; heads hold most of the activations, so that
    a guess which keeps them errs towards more memory. The factor f on both is found by bisection
    such that the parameters of the layers are the density times those of the dense model.


    Args:
        structure: the dense model, with its ranks.
        density: share of the layers' parameters that stays, in (0, 1].
        adapter_growth: factor on the parameters of all branches together.

    Returns:
        The guess; its ranks grow so far that the budget of adapters is spent.
    """
    target = density * structure.num_params()
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if _scaled(structure, middle).num_params() <= target else (low, middle)
        )
    return _with_grown_ranks(_scaled(structure, low), structure, adapter_growth)


def _scaled(structure: Structure, factor: float) -> Structure:
    """Neurons and hidden dimensions times a factor; at least one of each."""

    def at_least_one(count: int) -> int:
        return max(math.floor(count * factor), 1)

    units = {s.name: at_least_one(s.num_units) for s in structure.of_kind("ffn")}
    return structure.with_units(units, at_least_one(structure.hidden_size))


def _with_grown_ranks(cut: Structure, dense: Structure, growth: float) -> Structure:
    """Ranks of the cut model such that its branches hold `growth` times the dense model's."""
    present = cut.num_adapter_params()
    if present == 0:
        return cut
    factor = growth * dense.num_adapter_params() / present
    return replace(cut, ranks={site: max(round(r * factor), 1) for site, r in dense.ranks.items()})

"""Mask tuning's search the slow way: plain loops over every choice."""

from collections.abc import Mapping, Sequence
from itertools import chain, combinations

from apt_core.models.structure import Structure

Unit = tuple[str, int]


def best_pair_of_prefixes(
    structure: Structure,
    fisher: Mapping[str, Sequence[float]],
    budget: float,
    floors: Mapping[str, int],
) -> float | None:
    """The most Fisher information of any number of best heads beside any number of best neurons.

    None when the floors exceed the budget.
    """
    best = None
    heads = _ranked(structure, "attention", fisher, floors)
    neurons = _ranked(structure, "ffn", fisher, floors)
    for num_heads in range(len(heads) + 1):
        for num_neurons in range(len(neurons) + 1):
            units = heads[:num_heads] + neurons[:num_neurons]
            left_out = heads[num_heads:] + neurons[num_neurons:]
            if any(is_floor for is_floor, _ in left_out):
                continue
            chosen = [unit for _, unit in units]
            total = sum(fisher[name][index] for name, index in chosen)
            if params(structure, chosen) <= budget and (best is None or total > best):
                best = total
    return best


def _ranked(
    structure: Structure,
    kind: str,
    fisher: Mapping[str, Sequence[float]],
    floors: Mapping[str, int],
) -> list[tuple[bool, Unit]]:
    """(is in a floor, unit), floors first and then by falling Fisher information."""
    entries = []
    for position, s in enumerate(structure.sub_blocks):
        if s.kind != kind:
            continue
        own = sorted((-value, index) for index, value in enumerate(fisher[s.name]))
        for place, (minus_value, index) in enumerate(own):
            is_floor = place < floors[s.name]
            rank = (not is_floor, minus_value, position, index)
            entries.append((rank, is_floor, (s.name, index)))
    return [(is_floor, unit) for _, is_floor, unit in sorted(entries)]


def best_subset(
    structure: Structure, fisher: Mapping[str, Sequence[float]], budget: float
) -> float:
    """The most Fisher information of any set of units within the budget."""
    units = [(s.name, i) for s in structure.sub_blocks for i in range(s.num_units)]
    subsets = chain.from_iterable(combinations(units, n) for n in range(len(units) + 1))
    return max(
        sum(fisher[name][i] for name, i in chosen)
        for chosen in subsets
        if params(structure, chosen) <= budget
    )


def params(structure: Structure, chosen: Sequence[Unit]) -> int:
    """Layer parameters of a model that holds exactly these units and all hidden dimensions."""
    total = 0
    for s in structure.sub_blocks:
        count = sum(name == s.name for name, _ in chosen)
        if count:
            total += count * (s.per_unit_per_dim * structure.hidden_size + s.per_unit)
            total += s.per_dim_if_alive * structure.hidden_size + s.fixed_if_alive
    return total

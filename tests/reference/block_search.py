"""Block search the slow way: sort all blocks, try every prefix, count it from scratch."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from apt_core.models.structure import Structure

HIDDEN = "<hidden>"


class Block(NamedTuple):
    """One block in the order of the ranking; tuples compare field by field."""

    not_in_floor: bool
    minus_density: float
    family: int
    position: int
    number: int
    owner: str


def best_prefix(
    structure: Structure,
    units: Mapping[str, Sequence[float]],
    hidden: Sequence[float],
    budget: float,
    floors: Mapping[str, int],
) -> dict[str, list[int]] | None:
    """Kept indices by sub-block name and `HIDDEN`; None when the floors exceed the budget."""
    blocks = sorted(_blocks(structure, units, hidden, floors))
    best = None
    for length in range(len(blocks) + 1):
        prefix = blocks[:length]
        contains_floors = all(block.not_in_floor for block in blocks[length:])
        if contains_floors and params(structure, prefix) <= budget:
            best = prefix
    if best is None:
        return None
    owners = [s.name for s in structure.sub_blocks] + [HIDDEN]
    return {owner: sorted(b.number for b in best if b.owner == owner) for owner in owners}


def params(structure: Structure, blocks: Sequence[Block]) -> int:
    """Layer parameters of a model that holds exactly these blocks."""
    hidden_size = sum(block.owner == HIDDEN for block in blocks)
    total = 0
    for s in structure.sub_blocks:
        for block in blocks:
            if block.owner == s.name:
                total += s.per_unit_per_dim * hidden_size + s.per_unit
        if any(block.owner == s.name for block in blocks):
            total += s.per_dim_if_alive * hidden_size
    return total


def _blocks(
    structure: Structure,
    units: Mapping[str, Sequence[float]],
    hidden: Sequence[float],
    floors: Mapping[str, int],
) -> list[Block]:
    blocks = []
    hidden_cost = 0
    for position, s in enumerate(structure.sub_blocks):
        family = 0 if s.kind == "attention" else 1
        cost = s.per_unit_per_dim * structure.hidden_size
        hidden_cost += s.per_unit_per_dim * s.num_units
        blocks += _group(list(units[s.name]), cost, (family, position, s.name), floors[s.kind])
    return blocks + _group(list(hidden), max(hidden_cost, 1), (2, 0, HIDDEN), floors["hidden"])


def _group(
    salience: list[float], cost: int, where: tuple[int, int, str], floor: int
) -> list[Block]:
    family, position, owner = where
    best = sorted(range(len(salience)), key=lambda i: (-salience[i], i))[:floor]
    return [
        Block(i not in best, -(value / cost), family, position, i, owner)
        for i, value in enumerate(salience)
    ]

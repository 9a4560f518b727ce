"""The latency of a structure, from a table of measured sub-blocks; how it is read and smoothed."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from apt_core.models.structure import Structure, SubBlock

_NOTHING_MS = 1e-9
"""Stands for a cost of nothing where a salience is divided by it."""


def kind_of(sub_block: SubBlock) -> str:
    """What sub-blocks that take equally long at equal unit counts have in common."""
    s = sub_block
    widths = f"{s.unit_width}x{s.heads_per_unit}x{s.per_unit_per_dim}"
    return f"{s.kind} {widths} {s.stream}-{s.memory}"


def monotone(
    measured: Float[Tensor, "units hidden"],
) -> Float[Tensor, "units hidden"]:
    """Measurements that never fall along either axis.

    The mean of the two tightest monotone bounds: of the running maximum from the small end,
    ``max_{i' <= i, j' <= j} m``, and of the running minimum from the large one. Monotone
    measurements stay as they are; no other value moves further than the largest inversion.

    Args:
        measured: times by units and hidden size, both rising.

    Returns:
        Their monotone fit.
    """
    above = measured.cummax(dim=0).values.cummax(dim=1).values
    turned = measured.flip(0, 1).cummin(dim=0).values.cummin(dim=1).values
    return (above + turned.flip(0, 1)) / 2


@dataclass(frozen=True)
class LatencyTable:
    """Milliseconds of one kind of sub-block on a grid of unit counts and hidden sizes."""

    units: tuple[int, ...]
    """Rising, from 1."""
    hidden: tuple[int, ...]
    """Rising."""
    ms: tuple[tuple[float, ...], ...]
    """By units, then hidden size; never falling along either."""

    def at(self, num_units: int, hidden_size: int) -> float:
        """Bilinear between the grid's points, constant beyond them; 0 without any unit."""
        if num_units == 0 or hidden_size == 0:
            return 0.0
        row, down = _place(self.units, num_units)
        column, right = _place(self.hidden, hidden_size)
        low = _between(self.ms[row], column, right)
        high = _between(self.ms[min(row + 1, len(self.units) - 1)], column, right)
        return low + (high - low) * down

    @classmethod
    def fit(
        cls, units: Sequence[int], hidden: Sequence[int], measured: Float[Tensor, "units hidden"]
    ) -> "LatencyTable":
        """The table of raw measurements, smoothed by `monotone`."""
        rows = monotone(measured.to(torch.float64)).tolist()
        return cls(tuple(units), tuple(hidden), tuple(tuple(row) for row in rows))


def _place(grid: Sequence[int], value: int) -> tuple[int, float]:
    """The grid point at or below a value, and the share of the way to the next one."""
    index = bisect_right(grid, value) - 1
    if index < 0:
        return 0, 0.0
    if index == len(grid) - 1:
        return index, 0.0
    return index, (value - grid[index]) / (grid[index + 1] - grid[index])


def _between(row: Sequence[float], column: int, share: float) -> float:
    after = row[min(column + 1, len(row) - 1)]
    return row[column] + (after - row[column]) * share


@dataclass(frozen=True)
class LatencyCost:
    """Milliseconds that the layers take on the device where the table was measured."""

    tables: Mapping[str, LatencyTable]
    """`kind_of` a sub-block -> its table."""
    unit: str = "ms"
    decimals: int = 3

    def total(self, structure: Structure) -> float:
        """Sum over the sub-blocks."""
        return sum(self._at(s, s.num_units, structure.hidden_size) for s in structure.sub_blocks)

    def unit_cost(self, structure: Structure, sub_block: SubBlock) -> float:
        """A unit's share of its sub-block: all of them together free the whole of it."""
        now = self._at(sub_block, sub_block.num_units, structure.hidden_size)
        return max(now / max(sub_block.num_units, 1), _NOTHING_MS)

    def hidden_cost(self, structure: Structure) -> float:
        """A dimension's share of what the smallest hidden size of the table would save.

        Not of the whole: what every sub-block costs at any width is not freed by narrowing it.
        """
        size = structure.hidden_size
        least = min((t.hidden[0] for t in self.tables.values()), default=0)
        if size <= least:
            return max(self.total(structure) / max(size, 1), _NOTHING_MS)
        narrow = sum(self._at(s, s.num_units, least) for s in structure.sub_blocks)
        return max((self.total(structure) - narrow) / (size - least), _NOTHING_MS)

    def _at(self, sub_block: SubBlock, num_units: int, hidden_size: int) -> float:
        return self.tables[kind_of(sub_block)].at(num_units, hidden_size)

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary."""
        return {
            kind: {"units": list(t.units), "hidden": list(t.hidden), "ms": [*map(list, t.ms)]}
            for kind, t in self.tables.items()
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "LatencyCost":
        """The inverse of `to_json`."""
        return cls(
            {
                kind: LatencyTable(
                    tuple(t["units"]), tuple(t["hidden"]), tuple(tuple(row) for row in t["ms"])
                )
                for kind, t in data.items()
            }
        )

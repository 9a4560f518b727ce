"""How long sub-blocks take on this device: the raw material of a latency constraint."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from apt_core.evaluator.turns import times_in_turns
from apt_core.models.structure import Structure, SubBlock
from apt_core.pruner.latency import LatencyCost, LatencyTable, kind_of

_QUARTERS = 4


@dataclass(frozen=True)
class LatencySettings:
    """What is timed."""

    batch_size: int
    tokens: Mapping[str, int]
    """Stream -> tokens per row."""
    warmup: int
    repeats: int
    device: torch.device
    dtype: torch.dtype = torch.float32


def measure_latencies(structure: Structure, settings: LatencySettings) -> LatencyCost:
    """Time every kind of sub-block at several unit counts and hidden sizes.

    A sub-block is rebuilt from stock layers with random weights: projections, attention or gate,
    norm, residual sum, in evaluation mode.

    Args:
        structure: the unpruned structure.
        settings: what is timed.

    Returns:
        The cost model.
    """
    largest: dict[str, SubBlock] = {}
    for s in structure.sub_blocks:
        kind = kind_of(s)
        if kind not in largest or s.num_units > largest[kind].num_units:
            largest[kind] = s
    hidden = tuple(_grid(structure.hidden_size)[1:])
    return LatencyCost({kind: _measure(s, hidden, settings) for kind, s in largest.items()})


def _grid(size: int) -> list[int]:
    """From 1 to the whole size by quarters."""
    return sorted({1, *(max(1, size * i // _QUARTERS) for i in range(1, _QUARTERS + 1))})


def _measure(
    sub_block: SubBlock, hidden: tuple[int, ...], settings: LatencySettings
) -> LatencyTable:
    units = _grid(sub_block.num_units)
    with torch.random.fork_rng():  # what is measured must not move the run's random stream
        calls = [_call(sub_block, n, d, settings) for n in units for d in hidden]
    measured = torch.tensor(_medians_ms(calls, settings), dtype=torch.float64)
    return LatencyTable.fit(units, hidden, measured.reshape(len(units), len(hidden)))


def _call(
    sub_block: SubBlock, num_units: int, hidden: int, settings: LatencySettings
) -> Callable[[], object]:
    module = ReferenceSubBlock(sub_block, num_units, hidden)
    module = module.to(settings.device, settings.dtype).eval()

    def stream(name: str) -> Tensor:
        shape = (settings.batch_size, settings.tokens[name], hidden)
        return torch.ones(shape, device=settings.device, dtype=settings.dtype)

    own, memory = stream(sub_block.stream), stream(sub_block.memory)
    return lambda: module(own, memory)


@torch.no_grad()
def _medians_ms(calls: list[Callable[[], object]], settings: LatencySettings) -> list[float]:
    """Milliseconds of every call; they take turns, so that a slow moment meets all of them."""
    times = times_in_turns([calls], warmup=settings.warmup, repeats=settings.repeats)
    return [1000 * statistics.median(taken) for taken in times]


class ReferenceSubBlock(nn.Module):
    """A sub-block of stock layers with the widths that a `SubBlock` describes.

    Args:
        sub_block: widths of a unit.
        num_units: heads (groups) or neurons.
        hidden_size: width of the residual stream.
    """

    def __init__(self, sub_block: SubBlock, num_units: int, hidden_size: int) -> None:
        super().__init__()
        self.sub_block = sub_block
        self.num_units = num_units
        width = num_units * sub_block.unit_width
        if sub_block.kind == "attention":
            # Rows of queries and columns of the output are counted once each, keys and values too.
            keys = num_units * (sub_block.per_unit_per_dim - 2 * sub_block.unit_width) // 2
            widths = [width, keys, keys]
        else:
            widths = [width] * (sub_block.per_unit_per_dim // sub_block.unit_width - 1)
        self.readers = nn.ModuleList(nn.Linear(hidden_size, w) for w in widths)
        self.writer = nn.Linear(width, hidden_size)
        self.norm = nn.LayerNorm(hidden_size)

    def forward(self, own: Tensor, memory: Tensor) -> Tensor:
        """From the residual stream (rows, tokens, hidden) to its next state."""
        is_attention = self.sub_block.kind == "attention"
        inner = self._attend(own, memory) if is_attention else self._gate(own)
        updated: Tensor = self.norm(own + self.writer(inner))
        return updated

    def _gate(self, own: Tensor) -> Tensor:
        first, *others = (reader(own) for reader in self.readers)
        inner = functional.gelu(first)
        for other in others:
            inner = inner * other
        return inner

    def _attend(self, own: Tensor, memory: Tensor) -> Tensor:
        group = self.sub_block.heads_per_unit

        def heads(reader: nn.Module, tokens: Tensor, count: int) -> Tensor:
            rows: Tensor = reader(tokens)
            return rows.reshape(*rows.shape[:2], count, -1).transpose(1, 2)

        query = heads(self.readers[0], own, self.num_units * group)
        key = heads(self.readers[1], memory, self.num_units).repeat_interleave(group, dim=1)
        value = heads(self.readers[2], memory, self.num_units).repeat_interleave(group, dim=1)
        context = functional.scaled_dot_product_attention(query, key, value)
        return context.transpose(1, 2).flatten(2)

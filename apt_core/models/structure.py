"""The shape of a model as a value, and what it costs in parameters.

Pure Python, no torch: the driver plans with it before a GPU is asked for. Paper
Eq. 6, 12, 14.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal


@dataclass(frozen=True)
class SubBlock:
    """One attention or feed-forward sub-block and what each of its units costs.

    A *unit* is a head (attention; with grouped queries: a key/value head and its query heads) or a
    neuron (feed-forward). The parameters of the sub-block, at hidden size d and with n > 0 units,
    are ``n * (per_unit_per_dim * d + per_unit) + per_dim_if_alive * d + fixed_if_alive``; a
    sub-block without units is gone and costs nothing.
    """

    name: str
    """Module path of the sub-block inside the model, e.g. ``roberta.encoder.layer.0.attention``."""
    kind: Literal["attention", "ffn"]
    num_units: int
    """Heads or neurons that are left."""
    unit_width: int
    """Channels of one unit as the writing projection reads them: head_dim for a head (times the
    query heads of a group), 1 for a neuron.
    """
    per_unit_per_dim: int
    """Weights that one unit holds for every hidden dimension: 4 * head_dim for a head, 2 (gated:
    3) for a neuron, 2 * head_dim * (query heads + 1) for a group.
    """
    per_unit: int
    """Biases that one unit holds: 3 * head_dim for a head with biased projections, 1 for a neuron
    with a bias.
    """
    per_dim_if_alive: int
    """Parameters per hidden dimension outside the units: output bias and norm weights of the sub-
    block.
    """
    fixed_if_alive: int = 0
    """Parameters that depend on neither: norms of queries and keys."""
    heads_per_unit: int = 1
    """Query heads of one unit: with grouped-query attention a unit is a whole group."""
    stream: str = "source"
    """Tokens that the sub-block works on: ``source``, or ``target`` in a decoder beside an encoder.
    """
    memory: str = "source"
    """Tokens that keys and values come from."""
    sites: Mapping[str, int] = field(default_factory=dict, compare=False)
    """Path of every projection -> its channels per unit."""

    @property
    def num_heads(self) -> int:
        """Query heads that are left; 0 in a feed-forward sub-block."""
        return self.num_units * self.heads_per_unit if self.kind == "attention" else 0

    def num_params(self, hidden_size: int) -> int:
        """Parameters of this sub-block at the given hidden size."""
        if self.num_units == 0:
            return 0
        per_unit = self.per_unit_per_dim * hidden_size + self.per_unit
        shared = self.per_dim_if_alive * hidden_size + self.fixed_if_alive
        return self.num_units * per_unit + shared


@dataclass(frozen=True)
class Structure:
    """Shapes of every prunable sub-block, the shared hidden size, and the rank of every adapter."""

    hidden_size: int
    sub_blocks: tuple[SubBlock, ...]
    ranks: Mapping[str, int] = field(default_factory=dict)
    """Adapter site (module path of the adapted linear layer) -> rank; 0 or absent: no adapter."""

    def num_params(self) -> int:
        """Parameters of the layers; embeddings, task heads and adapters are outside."""
        return sum(sub_block.num_params(self.hidden_size) for sub_block in self.sub_blocks)

    def sparsity_relative_to(self, original: "Structure") -> float:
        """Fraction of the original layer parameters that is gone, in [0, 1]."""
        return 1.0 - self.num_params() / original.num_params()

    def unit_cost(self, sub_block: SubBlock) -> int:
        """C(b) of one head or neuron (paper Eq. 12): weights freed, biases not counted."""
        return sub_block.per_unit_per_dim * self.hidden_size

    def hidden_cost(self) -> int:
        """C(b) of one hidden dimension (paper Eq. 12): weights freed in all sub-blocks left."""
        return sum(s.per_unit_per_dim * s.num_units for s in self.sub_blocks)

    def with_units(self, num_units: Mapping[str, int], hidden_size: int) -> "Structure":
        """The same model with other unit counts (by sub-block name) and hidden size."""
        sub_blocks = tuple(
            replace(s, num_units=num_units.get(s.name, s.num_units)) for s in self.sub_blocks
        )
        return replace(self, hidden_size=hidden_size, sub_blocks=sub_blocks)

    def with_ranks(self, ranks: Mapping[str, int]) -> "Structure":
        """The same model with other adapter ranks."""
        return replace(self, ranks=dict(ranks))

    def site_widths(self) -> dict[str, int]:
        """Inputs + outputs of every adapted projection: parameters of one rank, by site."""
        widths = {
            site: self.hidden_size + s.num_units * width
            for s in self.sub_blocks
            for site, width in s.sites.items()
        }
        return {site: widths[site] for site in self.ranks}

    def num_adapter_params(self) -> int:
        """Parameters of all tuning branches (663,552 for roberta-base at rank 8)."""
        widths = self.site_widths()
        return sum(rank * widths[site] for site, rank in self.ranks.items())

    def of_kind(self, kind: Literal["attention", "ffn"]) -> tuple[SubBlock, ...]:
        """The sub-blocks of one kind, in model order."""
        return tuple(s for s in self.sub_blocks if s.kind == kind)

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary for manifests and reports."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Structure":
        """The inverse of `to_json`."""
        sub_blocks = tuple(SubBlock(**s) for s in data["sub_blocks"])
        return cls(int(data["hidden_size"]), sub_blocks, dict(data["ranks"]))

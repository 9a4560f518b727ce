"""What a structure costs under the constraint that pruning obeys: parameters or arithmetic."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from apt_core.models.structure import Structure, SubBlock
from apt_core.report import PARAMETERS


@runtime_checkable
class CostModel(Protocol):
    """What the sparsity target counts.

    A cost never falls when a structure gets another unit or hidden dimension, so a ranking of
    blocks has one longest prefix within a budget.
    """

    @property
    def unit(self) -> str:
        """What is counted, for messages and reports."""
        ...

    @property
    def decimals(self) -> int:
        """Decimals that a cost is worth printing with."""
        ...

    def total(self, structure: Structure) -> float:
        """The cost of all layers."""
        ...

    def unit_cost(self, structure: Structure, sub_block: SubBlock) -> float:
        """C(b) of one head or neuron of a sub-block that the structure has; above 0."""
        ...

    def hidden_cost(self, structure: Structure) -> float:
        """C(b) of one hidden dimension; above 0."""
        ...


@dataclass(frozen=True)
class ParamCost:
    """Parameters of the layers: the paper's constraint (Eq. 6, 12, 14)."""

    unit: str = PARAMETERS
    decimals: int = 0

    def total(self, structure: Structure) -> int:
        """The exact count, biases and norms included."""
        return structure.num_params()

    def unit_cost(self, structure: Structure, sub_block: SubBlock) -> int:
        """Weights that one unit frees; what frees none any more counts as one."""
        return max(structure.unit_cost(sub_block), 1)

    def hidden_cost(self, structure: Structure) -> int:
        """Weights that one hidden dimension frees; what frees none any more counts as one."""
        return max(structure.hidden_cost(), 1)


PARAMS = ParamCost()


@dataclass(frozen=True)
class MacCost:
    """Multiply-accumulates of the layers for one sample of a reference length.

    Attention whose queries come from S tokens and keys from T: per head 2 d d_h (S + T) + 2 S T d_h
    (a group of query heads counts its queries once each, its key and value once); per neuron 2 S d
    (gated: 3 S d). Biases, norms, embeddings and heads of tasks are left out, and so is what a
    causal mask saves.
    """

    num_tokens: float
    """S of the input."""
    target_tokens: float = 0.0
    """S of what a decoder beside an encoder writes."""
    unit: str = "MACs"
    decimals: int = 0

    def total(self, structure: Structure) -> float:
        """``sum_s n_s (d p_s + q_s)`` over the sub-blocks."""
        return sum(s.num_units * self._of_unit(structure, s) for s in structure.sub_blocks)

    def unit_cost(self, structure: Structure, sub_block: SubBlock) -> float:
        """Multiply-accumulates of one unit; at least 1."""
        return max(self._of_unit(structure, sub_block), 1)

    def hidden_cost(self, structure: Structure) -> float:
        """Multiply-accumulates of one hidden dimension: ``sum_s n_s p_s``; at least 1."""
        return max(sum(s.num_units * self._per_dim(s) for s in structure.sub_blocks), 1)

    def _of_unit(self, structure: Structure, sub_block: SubBlock) -> float:
        return structure.hidden_size * self._per_dim(sub_block) + self._scores(sub_block)

    def _per_dim(self, s: SubBlock) -> float:
        """p_s: of the projections, per unit and hidden dimension."""
        if s.kind == "ffn":
            return s.per_unit_per_dim * self._tokens(s.stream)
        queries = 2 * s.unit_width  # channels of the query and output projections
        keys = s.per_unit_per_dim - queries
        return queries * self._tokens(s.stream) + keys * self._tokens(s.memory)

    def _scores(self, s: SubBlock) -> float:
        """q_s: of scores and context, per unit."""
        if s.kind == "ffn":
            return 0
        return 2 * self._tokens(s.stream) * self._tokens(s.memory) * s.unit_width

    def _tokens(self, stream: str) -> float:
        return self.target_tokens if stream == "target" else self.num_tokens

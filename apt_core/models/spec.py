"""How a family of transformers is laid out, as plain data: no torch, no library.

Every other module asks the map that `arch.bind` makes of it; none knows a family by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["attention", "ffn"]
Stream = Literal["source", "target"]
"""Whose tokens a sub-block sees: the input's or, in a decoder beside an encoder, the output's."""
HeadKind = Literal["sequence_classification", "question_answering", "seq2seq_lm", "causal_lm"]
"""What a task model predicts: a class or score per row, a span, or text."""


@dataclass(frozen=True)
class BypassSpec:
    """What takes a module's place once its sub-block has no units left."""

    path: str
    gives: Literal["input", "zero"]
    """``input``: hand one of the inputs through; ``zero``: add nothing to the residual stream."""
    input_position: int = 0
    num_outputs: int = 0
    """Length of the tuple that the caller unpacks, padded with None; 0: a bare tensor."""


@dataclass(frozen=True)
class SubBlockSpec:
    """One sub-block of a layer; paths are relative to the layer."""

    kind: Kind
    name: str
    readers: tuple[tuple[str, str], ...]
    """(role, path) of the projections that read the residual stream: q, k, v or gate and up. Units
    are their rows.
    """
    writer: tuple[str, str]
    """(role, path) of the projection that writes to the residual stream: o or down. Units are its
    columns.
    """
    residual_input: str
    """Module whose first argument is the residual stream as this sub-block sees it."""
    bypass: tuple[BypassSpec, ...]
    norm: str | None = None
    """Norm that goes with the sub-block: behind its output or in front of its readers."""
    extra: tuple[str, ...] = ()
    """Further modules inside it, outside its units: norms of queries and keys."""
    position_bias: Literal["table", "none"] | None = None
    """T5 hands one bias on attention scores from layer to layer. ``table``: from a table with one
    column per head, ``none``: always zero; None: not that kind of attention.
    """
    attention: str = ""
    """The module that computes attention; named where `position_bias` is set."""
    is_cached: bool = False
    """Keys and values are kept while text is generated, and others read the length off them."""
    memory: Stream | None = None
    """Tokens that keys and values come from; None: those of the stack itself."""


@dataclass(frozen=True)
class StackSpec:
    """A pile of equal layers; paths are relative to the body of the model."""

    layers: str
    sub_blocks: tuple[SubBlockSpec, ...]
    stream: Stream = "source"
    final_norm: str | None = None
    """Norm between the last layer and whoever reads the stack's output."""


@dataclass(frozen=True)
class HeadSpec:
    """One kind of task model of a family; paths are relative to the task model."""

    body: str
    """Where the family's body is inside the task model; empty: the task model itself."""
    readers: tuple[str, ...]
    """Linear layers of the head that read the residual stream."""
    trained: tuple[str, ...] = ()
    """Modules without pretrained weights: trained in every arm."""

    def inside(self, path: str) -> str:
        """A path of the body as seen from the task model."""
        return f"{self.body}.{path}" if self.body else path


@dataclass(frozen=True)
class ArchSpec:
    """One family of transformers. Paths are relative to the body of the model."""

    stacks: tuple[StackSpec, ...]
    embeddings: tuple[str, ...]
    """Embedding tables: a hidden dimension is one of their columns. Tables and head readers may
    share one parameter.
    """
    norms: tuple[str, ...]
    """Norms over the residual stream that belong to no sub-block and to no stack."""
    heads: Mapping[HeadKind, HeadSpec] = field(hash=False)
    norm_kind: Literal["layer", "rms"] = "layer"
    is_pre_norm: bool = False
    """Norms stand in front of a sub-block's readers instead of behind its output."""
    uses_kurtosis: bool = False
    """Whether the outlier term of the salience is on unless the user says otherwise."""
    adapts_ffn: bool = True
    """Whether feed-forward layers get adapters unless the user says otherwise."""

    @property
    def is_decoder(self) -> bool:
        """Whether it writes and has no encoder."""
        return "causal_lm" in self.heads


ENCODER_TASKS: Mapping[str, HeadKind] = {
    "classification": "sequence_classification",
    "regression": "sequence_classification",
    "qa": "question_answering",
}
"""Task kind -> the head of a model that cannot write text."""
GENERATIVE: tuple[HeadKind, ...] = ("seq2seq_lm", "causal_lm")
"""Heads that turn every task into text."""

"""What autograd keeps of a sub-block between forward and backward, and what its backward needs.

Korthikanti et al. (arXiv 2205.05198, Eq. 1) count ``s b h (34 + 5 a s / h)`` bytes per layer in
half precision, for a dense layer of which every weight learns. Here the same tensors are counted
one by one, because three things differ: a frozen matrix does not keep its input, fused attention
keeps no scores, and pruned layers have widths of their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from apt_core.bench.flops import Rows
from apt_core.models.structure import Structure, SubBlock

FP32 = 4
_STATISTICS = 2
"""Mean and reciprocal deviation of a LayerNorm, per token."""
_KEPT_PER_NEURON: Mapping[str, int] = {"gelu_new": 4}
"""Activations that are written out in Python keep every step; a kernel keeps one tensor."""


@dataclass(frozen=True)
class Kernels:
    """How a device's kernels compute."""

    fuses_dropout: bool
    """Attention with dropout has a fused kernel, too; without dropout it has one everywhere."""
    dropout_bytes: int | None
    """Per element, of what a dropout layer keeps; None: as wide as what it drops."""
    repeats_keys: bool
    """Fused attention is given a copy of keys and values for every query head of a group."""


CPU = Kernels(fuses_dropout=False, dropout_bytes=None, repeats_keys=False)
GPU = Kernels(fuses_dropout=True, dropout_bytes=1, repeats_keys=True)
"""Assumed: PyTorch's fused attention, which takes T5's bias and every head size up to 256; keys are
repeated by transformers wherever a batch has padding.
"""


@dataclass(frozen=True)
class Habits:
    """What of a family's layers memory can see, besides their shapes."""

    norm: Literal["layer", "rms"]
    activation: str
    """Name of the feed-forward activation, as transformers spells it."""
    hidden_dropout: bool
    """Whether what a sub-block writes is dropped at random."""
    attention_dropout: bool
    inner_dropout: bool
    """Whether neurons are, behind the activation."""
    upcasts_norm: bool = False
    """The norm keeps its input in fp32 *and* as it came (T5); LLaMA's keeps the first alone."""


@dataclass(frozen=True)
class Pass:
    """How one micro-batch is worked on."""

    rows: Rows
    width: int
    """Bytes of a value: 4 in fp32, 2 in half precision."""
    kernels: Kernels
    all_learn: bool = False
    reads_salience: bool = False


@dataclass(frozen=True)
class Load:
    """Bytes of one part of the model."""

    kept: int
    """From its forward until its backward."""
    working: int = 0
    """On top of that while its backward runs."""
    gradients: int = 0
    """That its backward leaves behind."""


def sub_block_load(s: SubBlock, structure: Structure, habits: Habits, how: Pass) -> Load:
    """What a sub-block keeps and needs.

    Args:
        s: the sub-block; without units it is gone.
        structure: the model that it belongs to.
        habits: how the family computes.
        how: what it works on.

    Returns:
        Bytes; gradients are those of its own parameters that learn.
    """
    if s.num_units == 0:
        return Load(0)
    part = _Part(s, structure, habits, how)
    inner = part.attention() if s.kind == "attention" else part.ffn()
    kept = inner.kept + part.inputs() + part.branches() + part.dropped() + part.norm()
    working = inner.working + 2 * how.width * structure.hidden_size
    tokens = how.rows.rows * how.rows.of(s.stream)
    return Load(round(tokens * kept), round(tokens * working), how.width * part.num_trained())


@dataclass(frozen=True)
class _Part:
    """One sub-block; every method counts bytes per token of its stream unless it says otherwise."""

    s: SubBlock
    structure: Structure
    habits: Habits
    how: Pass

    @property
    def channels(self) -> int:
        """Inputs of the writing projection: query channels, or neurons."""
        return self.s.num_units * self.s.unit_width

    @property
    def sites(self) -> list[str]:
        return list(self.s.sites)

    def learns(self, site: str) -> bool:
        """Whether a projection keeps its input: it or its branch has a gradient to form."""
        return self.how.all_learn or self.structure.ranks.get(site, 0) > 0

    def num_trained(self) -> int:
        """Parameters, not bytes."""
        hidden, s = self.structure.hidden_size, self.s
        branches = sum(
            self.structure.ranks.get(site, 0) * (hidden + s.num_units * width)
            for site, width in s.sites.items()
        )
        return branches + (s.num_params(hidden) if self.how.all_learn else 0)

    def inputs(self) -> float:
        """What the readers read, once for all of them, and what the writer reads."""
        *readers, writer = self.sites
        hidden = self.structure.hidden_size if any(map(self.learns, readers)) else 0
        # Fused attention has kept its output already.
        is_new = self.s.kind == "ffn" or not self.is_fused
        written = self.channels if self.learns(writer) and is_new else 0
        return self.how.width * (hidden + written)

    def branches(self) -> float:
        """The bottleneck of every tuning branch."""
        return self.how.width * sum(self.structure.ranks.get(site, 0) for site in self.sites)

    def dropped(self) -> float:
        """Which of the written values were dropped."""
        return self.noise(self.structure.hidden_size, self.habits.hidden_dropout)

    def noise(self, values: float, is_dropped: bool, width: int | None = None) -> float:
        """What a dropout layer keeps of so many values."""
        if not is_dropped:
            return 0
        size = self.how.kernels.dropout_bytes or width or self.how.width
        return values * size

    def norm(self) -> float:
        """The residual stream as the norm reads it, and its statistics."""
        hidden, width = self.structure.hidden_size, self.how.width
        if self.habits.norm == "layer":
            return width * hidden + _STATISTICS * FP32
        upcast = width * hidden if self.habits.upcasts_norm and width < FP32 else 0
        scaled = width * hidden if self.how.all_learn else 0
        return FP32 * (hidden + 1) + upcast + scaled

    @property
    def is_fused(self) -> bool:
        return self.how.kernels.fuses_dropout or not self.habits.attention_dropout

    def attention(self) -> Load:
        """Queries, keys and values, and the output (fused) or the scores.

        PyTorch's unfused attention computes in fp32 whatever the model's format is.
        """
        heads, ratio = self.s.num_heads, self.keys_per_token()
        keys = ratio * self.channels
        if self.is_fused:
            if not self.how.kernels.repeats_keys:
                keys = ratio * self.own_keys()
            values = self.how.width * (2 * self.channels + 2 * keys)
            return Load(round(values + FP32 * heads), round(values))
        scores = heads * self.how.rows.of(self.s.memory) * FP32
        kept = FP32 * (self.channels + 2 * keys) + scores
        if self.habits.attention_dropout:
            kept += scores + self.noise(scores / FP32, True, FP32)
        return Load(round(kept), round(3 * scores))

    def own_keys(self) -> int:
        """Channels of the keys, of which a group of query heads has one."""
        s = self.s
        return s.num_units * (s.per_unit_per_dim - 2 * s.unit_width) // 2

    def keys_per_token(self) -> float:
        """Tokens of the memory for every token of the stream."""
        return self.how.rows.of(self.s.memory) / max(self.how.rows.of(self.s.stream), 1)

    def ffn(self) -> Load:
        """What the activation keeps; with a gate also both factors of the product."""
        neurons, width = self.s.num_units, self.how.width
        is_gated = len(self.sites) > 2  # noqa: PLR2004 - gate, up, down
        tensors = _KEPT_PER_NEURON.get(self.habits.activation, 1) + (2 if is_gated else 0)
        kept = width * neurons * tensors + self.noise(neurons, self.habits.inner_dropout)
        working = width * neurons * (3 if is_gated else 2)
        if self.how.reads_salience:  # absolute values of a gradient, and their copy in fp32
            working += neurons * (width + (FP32 if width < FP32 else 0))
        return Load(round(kept), working)

"""What the arithmetic demands: floating-point operations and bytes of a step or a forward pass.

A multiply-add counts as two operations. Element-wise work (norms, activations, masks, the sums of
salience) and embedding tables are left out, and of the bytes only weights and optimizer state are
counted, not activations: what comes out is a lower bound.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from apt_core.models.structure import Structure, SubBlock
from apt_core.pruner.cost import MacCost

_PER_MAC = 2
_KEY_AND_VALUE = (1, 2)
"""Places of the key and value projections among the sites of an attention sub-block."""
_OPTIMIZER_BYTES = 32
"""Per trained parameter and step, fp32: gradient, master and two moments, each read and written."""


@dataclass(frozen=True)
class Rows:
    """What one pass works on."""

    rows: int
    tokens: int
    """Tokens of every row's input."""
    target_tokens: int = 0
    """Tokens that a decoder beside an encoder writes for every row."""

    def of(self, stream: str) -> int:
        """Tokens per row of a stream."""
        return self.target_tokens if stream == "target" else self.tokens


@dataclass(frozen=True)
class HeadLayer:
    """A matrix outside the layers: of the task head, or the one that gives logits of tokens."""

    weights: int
    """Entries of the matrix."""
    tokens: int
    """Tokens per row that are multiplied with it."""
    learns: bool


@dataclass(frozen=True)
class Network:
    """What is computed: layers with adapters, and a head."""

    structure: Structure
    head: tuple[HeadLayer, ...] = ()
    all_learn: bool = False
    """Every weight of the layers learns, not only adapters."""

    @property
    def num_weights(self) -> int:
        """Parameters that a pass reads."""
        head = sum(layer.weights for layer in self.head)
        return self.structure.num_params() + self.structure.num_adapter_params() + head

    @property
    def num_trained(self) -> int:
        """Parameters that the optimizer moves."""
        head = sum(layer.weights for layer in self.head if layer.learns)
        layers = self.structure.num_params() if self.all_learn else 0
        return layers + self.structure.num_adapter_params() + head


@dataclass(frozen=True)
class Lesson:
    """What distillation adds to a step."""

    teacher: Network
    num_layers: int
    """Hidden states of the student that go through the projection, over all stacks."""
    rank: int
    """Of the projection's trained part."""


def forward_flops(network: Network, rows: Rows) -> int:
    """Operations of one forward pass.

    ``2 R (sum_s n_s (d p_s + q_s) + sum_a r_a (i_a + o_a) T_a + sum_h w_h T_h)`` over sub-blocks s
    (see `MacCost`), adapters a and matrices h of the head, for R rows of T tokens.

    Args:
        network: what is computed.
        rows: on what.

    Returns:
        The count.
    """
    macs = _layer_macs(network, rows) + _adapter_macs(network.structure, rows)
    macs += sum(layer.weights * layer.tokens for layer in network.head)
    return round(_PER_MAC * rows.rows * macs)


def step_flops(network: Network, rows: Rows, lesson: Lesson | None = None) -> int:
    """Operations of one training step: forward, backward, and what a teacher adds.

    A frozen matrix passes its gradient on, which costs as much as its forward pass; one that learns
    costs that twice; products of two activations (scores, context) have two gradients. The readers
    of the first sub-block of a stack pass nothing on, because embeddings are frozen. A teacher has
    a forward pass only.

    Args:
        network: what is trained.
        rows: the step's batch.
        lesson: the teacher's part; None: nobody teaches.

    Returns:
        The count.
    """
    structure = network.structure
    layers, scores = _layer_macs(network, rows), _score_macs(structure, rows)
    matrices = layers - scores
    backward = 2 * scores + matrices * (2 if network.all_learn else 1)
    backward += 2 * _adapter_macs(structure, rows)
    if not network.all_learn:
        backward -= sum(_first_readers_macs(structure, rows))
    for layer in network.head:
        backward += layer.weights * layer.tokens * (2 if layer.learns else 1)
    total = forward_flops(network, rows) + round(_PER_MAC * rows.rows * backward)
    return total if lesson is None else total + _lesson_flops(network, rows, lesson)


def _lesson_flops(network: Network, rows: Rows, lesson: Lesson) -> int:
    """The teacher's forward pass; the projection's branch forward and backward."""
    ours, theirs = network.structure.hidden_size, lesson.teacher.structure.hidden_size
    streams = {s.stream for s in network.structure.sub_blocks}
    tokens = sum(rows.of(stream) for stream in streams) / len(streams)
    per_token = 3 * lesson.rank * (ours + theirs)
    projection = _PER_MAC * rows.rows * tokens * lesson.num_layers * per_token
    return forward_flops(lesson.teacher, rows) + round(projection)


def forward_bytes(network: Network, bytes_per_weight: int) -> int:
    """Bytes that a forward pass moves at least: every weight once."""
    return network.num_weights * bytes_per_weight


def step_bytes(network: Network, bytes_per_weight: int, lesson: Lesson | None = None) -> int:
    """Bytes that a training step moves at least: weights twice, a teacher's once, the optimizer.

    Args:
        network: what is trained.
        bytes_per_weight: of the number format of forward and backward.
        lesson: the teacher's part; None: nobody teaches.

    Returns:
        The count.
    """
    total = 2 * forward_bytes(network, bytes_per_weight) + _OPTIMIZER_BYTES * network.num_trained
    return total if lesson is None else total + forward_bytes(lesson.teacher, bytes_per_weight)


@dataclass(frozen=True)
class Rates:
    """What the device can do, as measured."""

    flops_per_s: float
    """Operations per second of a matrix product of the model's own shapes and number format."""
    bytes_per_s: float
    """Bytes per second, read and written, of a large copy."""


@dataclass(frozen=True)
class Bound:
    """The shortest time that the device's rates allow for a piece of work."""

    flops: int
    num_bytes: int
    seconds: float
    limited_by: str
    """``matrix`` or ``memory``, whichever takes longer."""

    @classmethod
    def of(cls, flops: int, num_bytes: int, rates: Rates) -> "Bound":
        """The longer of operations over their rate and bytes over theirs."""
        matrix, memory = flops / rates.flops_per_s, num_bytes / rates.bytes_per_s
        longer = "matrix" if matrix >= memory else "memory"
        return cls(flops, num_bytes, max(matrix, memory), longer)


def _layer_macs(network: Network, rows: Rows) -> float:
    """Projections, scores and context of all layers, for one row."""
    return MacCost(rows.tokens, rows.target_tokens).total(network.structure)


def _score_macs(structure: Structure, rows: Rows) -> int:
    """Products of two activations: scores and context, for one row."""
    return sum(
        2 * s.num_units * s.unit_width * rows.of(s.stream) * rows.of(s.memory)
        for s in structure.of_kind("attention")
    )


def _adapter_macs(structure: Structure, rows: Rows) -> int:
    """Both matrices of every tuning branch, for one row."""
    widths = structure.site_widths()
    tokens = _site_tokens(structure, rows)
    return sum(r * widths[site] * tokens[site] for site, r in structure.ranks.items())


def _site_tokens(structure: Structure, rows: Rows) -> Mapping[str, int]:
    """Tokens per row that every projection sees; keys and values are made from the memory."""
    return {
        site: rows.of(s.memory if _reads_memory(s, place) else s.stream)
        for s in structure.sub_blocks
        for place, site in enumerate(s.sites)
    }


def _reads_memory(s: SubBlock, place: int) -> bool:
    return s.kind == "attention" and place in _KEY_AND_VALUE


def _first_readers_macs(structure: Structure, rows: Rows) -> Iterator[int]:
    """Of every stack's first sub-block: its readers, and the first matrix of their branches."""
    seen: set[str] = set()
    for s in structure.sub_blocks:
        if s.num_units == 0 or s.stream in seen:
            continue
        seen.add(s.stream)
        tokens = rows.of(s.stream)
        readers = list(s.sites)[:-1]
        yield s.num_units * (s.per_unit_per_dim - s.unit_width) * structure.hidden_size * tokens
        yield sum(structure.ranks.get(site, 0) for site in readers) * structure.hidden_size * tokens

"""The smallest uniform shape that holds a pruned model: numbers only, no torch.

Stock classes of transformers build every layer alike. What a layer has lost is filled with zeros
up to the largest layer, which changes no output; what its configuration cannot say is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from apt_core.errors import UnsupportedModelError
from apt_core.models.structure import Structure


@dataclass(frozen=True)
class UniformShape:
    """What every layer has."""

    num_units: int
    """Heads; with grouped queries: key/value heads."""
    num_neurons: int
    hidden_size: int
    head_dim: int


def largest(structure: Structure) -> tuple[int, int]:
    """Units of the attention sub-block and neurons of the feed-forward one that have most."""
    units = max(s.num_units for s in structure.of_kind("attention"))
    return max(units, 1), max(1, *(s.num_units for s in structure.of_kind("ffn")))


def free_width_shape(
    structure: Structure, *, head_dim: int, num_units: int | None, divisible: bool
) -> UniformShape:
    """The shape for families whose heads have a size of their own.

    Args:
        structure: the pruned shape.
        head_dim: channels of a head.
        num_units: heads that are needed; None: as many as the largest layer has.
        divisible: whether the hidden size must be a multiple of the number of heads.

    Returns:
        The shape; the hidden size is at most one less than the number of heads larger.
    """
    units, neurons = largest(structure)
    units = units if num_units is None else num_units
    heads = units * structure.of_kind("attention")[0].heads_per_unit
    hidden = structure.hidden_size
    if divisible:
        hidden = -(-hidden // heads) * heads
    return UniformShape(units, neurons, hidden, head_dim)


def tied_width_shape(structure: Structure, *, head_dim: int, family: str) -> UniformShape:
    """The shape for families whose heads together must be exactly as wide as the hidden size.

    The hidden size cannot be padded: a LayerNorm takes its statistics over all of it. Heads may be
    wider than they were, with zeros.

    Args:
        structure: the pruned shape.
        head_dim: channels of a head.
        family: for the message.

    Returns:
        The shape with the fewest heads.

    Raises:
        UnsupportedModelError: no number of heads divides the hidden size and leaves room for them.
    """
    units, neurons = largest(structure)
    hidden = structure.hidden_size
    for count in range(units, hidden // head_dim + 1):
        if hidden % count == 0:
            return UniformShape(count, neurons, hidden, hidden // count)
    raise UnsupportedModelError(
        f"--to uniform: the configuration of {family!r} ties the width of all heads to the hidden "
        f"size, which is {hidden} now; no division of it has room for {units} heads of {head_dim} "
        "channels. Use --to hf, or train again with pruning.round_to set to the head size "
        f"({head_dim}) and pruning.min_hidden not below {units * head_dim}"
    )


def head_slots(columns: Sequence[Sequence[bytes]]) -> tuple[list[bytes], list[list[int]]]:
    """Places for the heads of layers that share one table of position biases.

    Stock T5 has one column of biases per head number, for all layers. So heads of different layers
    may have the same number only if their columns are equal.

    Args:
        columns: by layer: each head's column.

    Returns:
        The column of every place, and by layer the place of every head.
    """
    places: list[bytes] = []
    numbers: list[list[int]] = []
    for layer in columns:
        taken: list[int] = []
        for column in layer:
            equal = (i for i, there in enumerate(places) if there == column and i not in taken)
            place = next(equal, len(places))
            if place == len(places):
                places.append(column)
            taken.append(place)
        numbers.append(taken)
    return places, numbers

"""The fullest moment of a step: what is kept falls during backward, and gradients grow."""

from collections.abc import Sequence
from dataclasses import dataclass

from apt_core.capacity.kept import Load


@dataclass(frozen=True)
class Moment:
    """Bytes at one instant of a step, on top of weights and optimizer state."""

    kept: int = 0
    """Activations that a backward still waits for."""
    working: int = 0
    """What the running operation needs."""
    gradients: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return self.kept + self.working + self.gradients


def fullest_moment(
    loads: Sequence[Load], *, forward: int = 0, accumulated: int = 0, update: int = 0
) -> Moment:
    """Walk a step backwards and find where most is held.

    Before backward part i of n: ``sum_{j <= i} kept_j + working_i + accumulated + sum_{j > i}
    gradients_j``. Before the walk stands the loss, with `forward` on top of all that is kept;
    behind it the update, with all gradients and `update`.

    Args:
        loads: the parts in the order of the forward pass.
        forward: what only the forward pass holds when it ends: logits, a teacher's states.
        accumulated: gradients that earlier micro-batches of the step have left.
        update: what the optimizer needs besides its state.

    Returns:
        The moment.
    """
    kept = sum(load.kept for load in loads)
    gradients = accumulated
    moments = [Moment(kept, forward, gradients)]
    for load in reversed(loads):
        moments.append(Moment(kept, load.working, gradients + load.gradients))
        kept -= load.kept
        gradients += 0 if accumulated else load.gradients
    moments.append(Moment(0, update, gradients))
    return max(moments, key=lambda moment: moment.total)


def checkpointed(loads: Sequence[Load], layer_input: int) -> Load:
    """A layer that keeps its input alone and runs forward again when its backward comes.

    Korthikanti et al., section 5 ("full recomputation"): 2 s b h bytes per layer in half precision.

    Args:
        loads: its sub-blocks.
        layer_input: bytes of what it reads.

    Returns:
        The load of the layer as a whole.
    """
    inner = fullest_moment(loads)
    gradients = sum(load.gradients for load in loads)
    return Load(layer_input, max(inner.total - gradients, 0), gradients)

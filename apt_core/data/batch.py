"""What a batch holds besides the model's own inputs."""

from collections.abc import Mapping

from torch import Tensor

NOT_INPUTS = frozenset({"loss_weight", "row"})
"""``loss_weight``: share of a micro-batch in the loss of its step; ``row``: indices of rows."""
TARGETS = frozenset({"labels", "start_positions", "end_positions"})
"""What is to be predicted."""


def model_inputs(batch: Mapping[str, Tensor], *, targets: bool = True) -> dict[str, Tensor]:
    """The entries that a task model takes.

    Args:
        batch: one micro-batch.
        targets: whether what is to be predicted is among them.

    Returns:
        Keyword arguments.
    """
    left_out = NOT_INPUTS if targets else NOT_INPUTS | TARGETS
    return {name: tensor for name, tensor in batch.items() if name not in left_out}

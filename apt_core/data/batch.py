"""What a batch holds besides the inputs of the model."""

from collections.abc import Mapping

from torch import Tensor

NOT_INPUTS = frozenset({"loss_weight", "row"})
"""Entries that are not arguments of the model."""


def model_inputs(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The batch without the entries that are not arguments of the model."""
    return {name: tensor for name, tensor in batch.items() if name not in NOT_INPUTS}

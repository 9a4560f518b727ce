"""First-order Taylor importance of coupled weights [LLM-Pruner, Ma et al. 2023, section 3.2]."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class CoupledWeight:
    """A parameter of which every unit of a sub-block owns a slice."""

    weight: Tensor
    gradient: Tensor
    """dL/dW over all calibration texts."""
    dim: int
    """Along which units lie: 0 for the rows of a reader, 1 for the columns of a writer."""
    unit_width: int
    """Slices of one unit along `dim`."""


def element_importance(
    weight: Float[Tensor, "*shape"], gradient: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """``I(w) = |w dL/dw|``, in units of the loss and at least 0 [Ma et al. 2023, Eq. 3, 5].

    That is the size of the loss's change when the one weight becomes 0, to first order. The
    second-order term, which the paper leaves out of its default too, is left out.

    Args:
        weight: W.
        gradient: dL/dW.

    Returns:
        The importance of every element, in fp32 or better.
    """
    dtype = torch.promote_types(weight.dtype, torch.float32)
    return (weight.detach().to(dtype) * gradient.detach().to(dtype)).abs()


def unit_importance(parts: Iterable[CoupledWeight]) -> Float[Tensor, " units"]:
    """``I(u) = sum over all weights w that go with unit u of |w dL/dw|``.

    A head's or neuron's group is its rows of the readers (with their biases) and its columns of the
    writer: removing any of them makes the others useless [Ma et al. 2023, section 3.1].

    Args:
        parts: every parameter of the sub-block that its units share out among them.

    Returns:
        One importance for each unit.
    """
    return torch.stack([_by_unit(part) for part in parts]).sum(dim=0)


def _by_unit(part: CoupledWeight) -> Float[Tensor, " units"]:
    slices = element_importance(part.weight, part.gradient).movedim(part.dim, 0)
    by_unit = slices.reshape(slices.shape[0] // part.unit_width, -1)
    return by_unit.sum(dim=1)


def keep_most_important(importance: Float[Tensor, " units"], count: int) -> Int[Tensor, " _"]:
    """Sorted indices of the `count` most important units; of equal ones the first.

    A value that is not finite is a ValueError.
    """
    num_bad = int((~importance.isfinite()).sum())
    if num_bad:
        raise ValueError(f"{num_bad} of {len(importance)} importances are not finite")
    return torch.argsort(importance, descending=True, stable=True)[:count].sort().values

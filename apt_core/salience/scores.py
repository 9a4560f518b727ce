"""Salience of parameters and blocks, importance of adapters [paper sections 4.2, 4.3].

Half-precision inputs are raised to fp32 before they are multiplied; fp32 and fp64 keep their type.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def parameter_salience(
    weight: Float[Tensor, "*shape"], grad: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """How much the loss reacts to each parameter [paper Eq. 3]: ``S(W_ij) = |W_ij * dL/dW_ij|``.

    Range [0, inf), in units of the loss.
    """
    return (_at_least_fp32(weight) * _at_least_fp32(grad)).abs()


def block_salience(
    activation_sums: Float[Tensor, " channels"],
    gradient_sums: Float[Tensor, " channels"],
    unit_width: int = 1,
) -> Float[Tensor, " units"]:
    """Salience of heads, neurons or hidden dimensions from activations alone [paper Eq. 4].

    ``S~(unit) = sum over its channels j of (sum_{x,t} |H_jt|) * (sum_{x,t} |dL/dH_jt|)``: a product
    of sums, not a sum of products, so no frozen weight needs a gradient. Range [0, inf); units of
    the loss times the number of tokens.

    Args:
        activation_sums: ``sum |H_j|`` over batch and tokens, one value a channel.
        gradient_sums: ``sum |dL/dH_j|`` over the same tokens, without any loss scale.
        unit_width: Neighbouring channels that make up one unit: head_dim for heads, 1 for neurons
            and hidden dimensions.

    Returns:
        One salience per unit.
    """
    products = _at_least_fp32(activation_sums) * _at_least_fp32(gradient_sums)
    return products.reshape(products.numel() // unit_width, unit_width).sum(dim=1)


def weight_magnitude(
    weight: Float[Tensor, "rows columns"], dim: int, unit_width: int = 1
) -> Float[Tensor, " units"]:
    """Size of the weights of heads, neurons or hidden dimensions: ``sum |W|``, in [0, inf).

    Not of the paper: what the control `magnitude` ranks blocks by.

    Args:
        weight: One projection, adapters folded in.
        dim: 0: a unit is rows of the weight; 1: columns.
        unit_width: Neighbouring rows or columns that make up one unit.

    Returns:
        One sum per unit.
    """
    sums = _at_least_fp32(weight).abs().sum(dim=1 - dim)
    return sums.reshape(sums.numel() // unit_width, unit_width).sum(dim=1)


def kurtosis(values: Float[Tensor, "..."], dim: int | tuple[int, ...]) -> Float[Tensor, "..."]:
    """Fisher's excess kurtosis over `dim` [paper Eq. 5].

    ``Kurt = mean(z^4) - 3`` with ``z = (x - mean(x)) / std(x)``, where std is the unbiased one
    (division by n - 1). Range (-3, inf), dimensionless: 0 for a large normal sample, large where
    few values dominate; 0 where it is undefined (constant values, one value).
    """
    values = _at_least_fp32(values)
    mean = values.mean(dim=dim, keepdim=True)
    if values.numel() <= mean.numel():  # std would warn
        return torch.zeros_like(values.sum(dim=dim))
    centred = values - mean
    excess = (centred / values.std(dim=dim, keepdim=True)).pow(4).mean(dim=dim) - 3.0
    return torch.where(excess.isnan(), torch.zeros_like(excess), excess)


def head_kurtosis(
    weight: Float[Tensor, "hidden channels"],
    mean_activation: Float[Tensor, " channels"],
    num_heads: int,
) -> Float[Tensor, " heads"]:
    """Kurtosis of everything that one head adds to the residual stream [paper Eq. 5].

    ``O = W o X_mean`` (column j of W times channel j's mean), then ``Kurt`` over all (hidden
    dimension, channel of the head) entries of O. Head h owns the head_dim columns from
    ``h * head_dim`` on.

    Args:
        weight: Merged weight of the attention's output projection, ``W + s W_B W_A`` if it carries
            an adapter.
        mean_activation: Signed mean of the projection's input over batch and tokens.
        num_heads: Number of heads that share the columns evenly.

    Returns:
        One kurtosis per head.
    """
    outputs = _weighted_columns(weight, mean_activation)
    hidden, channels = outputs.shape
    return kurtosis(outputs.reshape(hidden, num_heads, channels // num_heads), dim=(0, 2))


def neuron_kurtosis(
    weight: Float[Tensor, "hidden neurons"], mean_activation: Float[Tensor, " neurons"]
) -> Float[Tensor, " neurons"]:
    """Kurtosis of what one neuron adds to the residual stream [paper Eq. 5].

    ``Kurt`` over the rows of ``O = W o X_mean``, one value per column. Kurtosis ignores scale and
    each column has one activation, so this is the kurtosis of the weight's column, and 0 for a
    neuron whose mean activation is exactly 0.
    """
    return kurtosis(_weighted_columns(weight, mean_activation), dim=0)


def hidden_kurtosis(
    weight: Float[Tensor, "hidden inputs"], mean_activation: Float[Tensor, " inputs"]
) -> Float[Tensor, " hidden"]:
    """Kurtosis of what one sub-block adds to each hidden dimension [paper Eq. 5].

    ``Kurt`` over the columns of ``O = W o X_mean``, one value per row.
    """
    return kurtosis(_weighted_columns(weight, mean_activation), dim=1)


def outlier_aware(
    salience: Float[Tensor, " blocks"], kurtosis: Float[Tensor, "*sources blocks"], weight: float
) -> Float[Tensor, " blocks"]:
    """Salience that protects blocks with outliers [paper Eq. 5, normalised].

    ``S^ = mean(S~) * (S~ / mean(S~) + weight * sqrt(max(Kurt, 0)))``. Range [0, inf), in units of
    S~.

    Deviation from the paper, which adds ``sqrt(Kurt)`` to S~ as it is: S~ grows with batch size,
    sequence length and the scale of the loss while kurtosis has no unit, so the paper's balance
    between both is an accident of those. Here the mean of the family is the yardstick of the
    kurtosis term. It is multiplied back because the ranking compares families with each other: a
    mean of 1 in each would make a head, a hundred times the parameters of a neuron, a hundred times
    less dense. ``weight = 0`` gives S~ unchanged.

    Args:
        salience: S~ of all blocks of one family (every head, every neuron, or every hidden
            dimension of the model).
        kurtosis: Kurtosis of the same blocks. Further leading axes are summed after the root: a
            hidden dimension has one kurtosis for every sub-block that writes to it.
        weight: Coefficient of the outlier term, dimensionless.

    Returns:
        One salience per block.
    """
    roots = _at_least_fp32(kurtosis).clamp(min=0.0).sqrt().unsqueeze(0)
    salience = _at_least_fp32(salience)
    return salience + weight * salience.mean() * roots.flatten(0, -2).sum(dim=0)


def ema(
    previous: Float[Tensor, "*shape"] | None, current: Float[Tensor, "*shape"], momentum: float
) -> Float[Tensor, "*shape"]:
    """Exponential moving average; the first value starts it.

    ``Sbar_t = momentum * Sbar_{t-1} + (1 - momentum) * S_t``. The default momentum, 0.85, comes
    from the authors' clarifications to the paper, which does not print one.
    """
    if previous is None:
        return current
    return momentum * previous + (1.0 - momentum) * current


def adapter_importance(
    lora_b: Float[Tensor, "outputs rank"], grad_b: Float[Tensor, "outputs rank"]
) -> Float[Tensor, ""]:
    """Importance of an adapter [paper section 4.3]: ``I = sum_ij |B_ij * dL/dB_ij|`` >= 0."""
    return parameter_salience(lora_b, grad_b).sum()


def signed_rank_importance(
    lora_a: Float[Tensor, "rank inputs"], grad_a: Float[Tensor, "rank inputs"]
) -> Float[Tensor, ""]:
    """Importance of an adapter as a mean over ranks: ``I = mean_k |sum_j A_kj * dL/dA_kj|``.

    Deviation from the paper, which sums |B * dL/dB|: the sum per rank is signed, where A and B
    agree exactly [paper Eq. 11], and the mean does not favour adapters that already have a higher
    rank. An adapter of rank 0 has 0.
    """
    products = _at_least_fp32(lora_a) * _at_least_fp32(grad_a)
    return products.sum(dim=1).abs().sum() / max(products.shape[0], 1)


def _weighted_columns(weight: Tensor, mean_activation: Tensor) -> Tensor:
    """``O = W o X_mean``: column j of W times the mean of input channel j [paper Eq. 5]."""
    return _at_least_fp32(weight) * _at_least_fp32(mean_activation)


def _at_least_fp32(tensor: Tensor) -> Tensor:
    """The tensor in fp32, or in fp64 if it is already there: fp16 overflows at 65504."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))

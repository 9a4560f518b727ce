"""Fold the tuning branch into the frozen weight and return to stock layers."""

import torch
from torch import nn

from apt_core.adapters.linear import APTLinear
from apt_core.adapters.norm import MaskedLayerNorm, MaskedRMSNorm
from apt_core.models.modules import set_submodule


@torch.no_grad()
def merge_adapters(model: nn.Module) -> nn.Module:
    """Replace every APT layer by the stock layer that computes the same, in place.

    W <- W + s * W_B W_A. Masks must have been realised by surgery before.

    Args:
        model: the task model, changed in place.

    Returns:
        The same model.

    Raises:
        ValueError: a layer still carries a mask.
    """
    for path, module in list(model.named_modules()):
        if isinstance(module, APTLinear):
            if module.input_mask is not None or module.output_mask is not None:
                raise ValueError(f"{path} still carries a mask: operate before merging")
            set_submodule(model, path, _merged_linear(module))
        elif isinstance(module, MaskedLayerNorm | MaskedRMSNorm):
            if module.mask is not None:
                raise ValueError(f"{path} still carries a mask: operate before merging")
            set_submodule(model, path, _stock_norm(module))
    return model


def _merged_linear(module: APTLinear) -> nn.Linear:
    linear = nn.Linear(module.in_features, module.out_features, bias=False, device="meta")
    linear.weight = nn.Parameter(module.merged_weight(), requires_grad=False)
    linear.bias = module.bias  # type: ignore[assignment]
    return linear


def _stock_norm(module: MaskedLayerNorm | MaskedRMSNorm) -> nn.Module:
    if isinstance(module, MaskedRMSNorm):
        return module.inner
    norm = nn.LayerNorm(module.hidden_size, eps=module.eps, device="meta")
    norm.weight, norm.bias = module.weight, module.bias
    return norm

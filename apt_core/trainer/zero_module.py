"""Housekeeping around a module that ZeRO takes over and gives back; imports no DeepSpeed."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

MODULE_MARKS = (
    "all_parameters",
    "applied_pre_backward_ref_cnt",
    "ds_grads_remaining",
    "ds_external_parameters",
    "ds_id",
    "ds_inflight_param_registry",
    "ds_recompute_parameters",
    "post_bwd_fn",
    "pre_bwd_fn",
    "_external_params",
    "_original_parameters",
)
"""What ZeRO 3 leaves on modules; in the next engine `pre_bwd_fn` would call the dead one."""


class EmptyParameters:
    """Keeps parameters of size zero away from ZeRO 3, which cannot gather what has no parts.

    A layer that lost all its heads or neurons has such parameters. While hidden they stand among
    the buffers, so that `forward`, `state_dict` and `get_parameter` still find them.

    Args:
        module: The module to hide them in.
        dtype: What the engine casts the parameters to, since nobody casts buffers.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        self._hidden: list[tuple[nn.Module, list[str]]] = []
        for child in module.modules():
            names = list(child._parameters)
            empty = [n for n, p in child._parameters.items() if p is not None and p.numel() == 0]
            for name in empty:
                parameter = child._parameters.pop(name)
                assert parameter is not None
                parameter.data = parameter.data.to(dtype)
                child._buffers[name] = parameter
            if empty:
                self._hidden.append((child, names))

    def restore(self) -> None:
        """Make them parameters again, in the old order."""
        for child, names in self._hidden:
            hidden = {n: p for n in names if isinstance(p := child._buffers.get(n), nn.Parameter)}
            for name in hidden:
                del child._buffers[name]
            child._parameters = {
                name: hidden[name] if name in hidden else child._parameters[name] for name in names
            }
        self._hidden.clear()


def replace_parameters(module: nn.Module, values: Mapping[int, Tensor]) -> None:
    """Give every submodule new parameters and remove what ZeRO 3 left on it.

    Args:
        module: The module.
        values: New value by `id` of the old parameter; shared parameters stay shared.
    """
    fresh: dict[int, nn.Parameter] = {}
    replaced = list(module.parameters())
    for child in module.modules():
        parameters: dict[str, nn.Parameter | None] = {}
        for name, old in child._parameters.items():
            if old is not None and id(old) not in fresh:
                fresh[id(old)] = nn.Parameter(values[id(old)], requires_grad=old.requires_grad)
            parameters[name] = None if old is None else fresh[id(old)]
        child._parameters = parameters  # a plain dictionary again
        for mark in MODULE_MARKS:
            child.__dict__.pop(mark, None)
    for old in replaced:  # ZeRO hung closures on them that refer back: memory would wait for the gc
        old.__dict__.clear()
        old.grad = None

"""Hooks that show a collector what flows through a module."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


def sum_over_tokens(values: Tensor, tokens: Tensor) -> Tensor:
    """Sum over batch and real tokens, in fp32: fp16 sums overflow at 65504."""
    return tokens @ values.reshape(tokens.numel(), -1).float()


def _is_first_pass() -> bool:
    """Whether gradients will flow here, and this is no recomputation inside a backward pass.

    Gradient checkpointing runs a layer's forward pass again while it goes back; an activation
    counts once.
    """
    return torch.is_grad_enabled() and torch._C._current_graph_task_id() == -1


def tap_input(module: nn.Module, record: Callable[[Tensor], None]) -> RemovableHandle:
    """Show `record` the module's first input through an alias of its own.

    The alias makes the gradient that of this module alone, without the residual connection.
    """

    def hook(
        _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if not _is_first_pass():
            return None
        name = None if args else next(iter(kwargs))
        tensor = args[0] if name is None else kwargs[name]
        alias = tensor.view_as(tensor)
        record(alias)
        if name is None:
            return (alias, *args[1:]), kwargs
        return args, kwargs | {name: alias}

    return module.register_forward_pre_hook(hook, with_kwargs=True)


def tap_output(module: nn.Module, record: Callable[[Tensor], None]) -> RemovableHandle:
    """Show `record` the module's (first) output."""

    def hook(_: nn.Module, __: Any, output: Tensor | Sequence[Tensor]) -> None:
        if _is_first_pass():
            record(output if isinstance(output, Tensor) else output[0])

    return module.register_forward_hook(hook)

"""Lets a module return a dataclass under an engine that finds tensors in dicts only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from typing import Any

from torch import nn


class DataclassOutput:
    """Takes a module's dataclass apart on the way out, and puts it together again for the caller.

    DeepSpeed hooks the output tensors to prepare the backward pass, but looks for them in tuples,
    lists and dicts only. A forward hook, which must be registered before DeepSpeed's own, shows it
    a dict instead. Outside of `unpacked` the module returns what it always does.

    Args:
        module: The module whose output is meant.
    """

    def __init__(self, module: nn.Module) -> None:
        self._active = False
        self._original: Any = None
        self._handle = module.register_forward_hook(self._take_apart)

    @contextmanager
    def unpacked(self) -> Iterator[Callable[[Any], Any]]:
        """Within, dataclasses leave the module as dicts; the yielded function turns them back."""
        self._active = True
        try:
            yield self._put_together
        finally:
            self._active = False
            self._original = None

    def remove(self) -> None:
        """Remove the hook from the module."""
        self._handle.remove()

    def _take_apart(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        if not self._active or not is_dataclass(output) or isinstance(output, type):
            return None
        if isinstance(output, dict):  # Hugging Face outputs are both
            return None
        self._original = output
        return {field.name: getattr(output, field.name) for field in fields(output)}

    def _put_together(self, output: Any) -> Any:
        return output if self._original is None else replace(self._original, **output)

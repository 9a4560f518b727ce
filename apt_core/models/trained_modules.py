"""The one module that an engine trains: the student and, while it distils, its teacher."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

STUDENT = "student."
"""Prefix of the student's parameter names inside `TrainedModules`."""


class TrainedModules(nn.Module):
    """Student, teacher and layer projection under one root, so that one engine serves them all.

    Args:
        student: the task model.
    """

    student: nn.Module
    teacher: nn.Module | None
    projection: nn.Module | None

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.student = student
        self.register_module("teacher", None)
        self.register_module("projection", None)

    def forward(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call ``function(self, *args)``: whatever is computed runs inside the engine's forward."""
        return function(self, *args)

    def train(self, mode: bool = True) -> "TrainedModules":
        """Set the mode of the student and the projection; the teacher always evaluates."""
        super().train(mode)
        if self.teacher is not None:
            self.teacher.eval()
        return self

    def shared_with_teacher(self) -> Iterator[str]:
        """Names (in the teacher) of the parameters that are the student's own objects."""
        if self.teacher is None:
            return
        own = dict(self.student.named_parameters(remove_duplicate=False))
        for name, parameter in self.teacher.named_parameters(remove_duplicate=False):
            if own.get(name) is parameter:
                yield name

"""The one module that an engine trains: the student and, while it distils, its teacher."""

from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from apt_core.baselines.gates import Gates
    from apt_core.distiller.projection import LayerProjection

STUDENT = "student."
"""Prefix of the student's parameter names inside `TrainedModules`."""


class TrainedModules(nn.Module):
    """Student, teacher and layer projection under one root, so that one engine serves them all.

    Args:
        student: the task model.
    """

    student: nn.Module
    teacher: nn.Module | None
    projection: "LayerProjection | None"
    gates: "Gates | None"
    """Learned masks of the student's blocks, while an arm has such."""

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.student = student
        self.register_module("teacher", None)
        self.register_module("projection", None)
        self.register_module("gates", None)

    def forward(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call ``function(self, *args)``: whatever is computed runs inside the engine's forward.

        Gates are settled for evaluation; in training the distiller draws them.
        """
        if self.gates is not None and not self.training:
            self.gates.settle(self.student)
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

    def part_from_teacher(self, names: Collection[str]) -> None:
        """Give the student parameters of its own in place of some that are the teacher's as well.

        Args:
            names: parameters by their names in here; only the teacher's shared ones matter.
        """
        fresh: dict[int, nn.Parameter] = {}
        for name in [n for n in self.shared_with_teacher() if f"teacher.{n}" in names]:
            path, _, leaf = name.rpartition(".")
            shared = self.student.get_parameter(name)
            if id(shared) not in fresh:  # what the student itself shares stays one
                copy = nn.Parameter(shared.detach().clone(), shared.requires_grad)
                fresh[id(shared)] = copy
            setattr(self.student.get_submodule(path), leaf, fresh[id(shared)])

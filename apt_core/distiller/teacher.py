"""The teacher: an earlier self of the student, over the same frozen weights."""

import copy
from typing import Any

from torch import nn


def snapshot_teacher(student: nn.Module) -> nn.Module:
    """A frozen copy of the student that shares its frozen parameters.

    Args:
        student: a plain, unmasked task model.

    Returns:
        The teacher, in evaluation mode.
    """
    shared: dict[int, Any] = {id(p): p for p in student.parameters() if not p.requires_grad}
    teacher: nn.Module = copy.deepcopy(student, shared)
    for parameter in teacher.parameters():
        parameter.requires_grad_(False)
    return teacher.eval()

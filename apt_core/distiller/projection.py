"""The layer projection Tr: made with the teacher, kept in step with the student's hidden size."""

import torch
from torch import Tensor, nn

from apt_core.adapters.linear import APTLinear
from apt_core.models.surgery_record import Surgery, TensorEdit


def slice_projection(projection: nn.Module, surgery: Surgery) -> Surgery:
    """Drop the input columns of Tr that belong to hidden dimensions the student has lost.

    Args:
        projection: Tr, changed in place.
        surgery: the student's surgery.

    Returns:
        The record of the projection's own edits, on the structure after the surgery.
    """
    after = surgery.structure_after
    assert isinstance(projection, APTLinear)
    if surgery.kept is None or surgery.kept.hidden.numel() == projection.in_features:
        return Surgery(after, after)
    edit = TensorEdit(keep=((1, surgery.kept.hidden),))
    for name in ("weight", "lora_a"):
        parameter = getattr(projection, name)
        sliced = nn.Parameter(edit.apply(parameter.detach()), parameter.requires_grad)
        setattr(projection, name, sliced)
    projection.in_features = surgery.kept.hidden.numel()
    edits = {f"projection.{name}": edit for name in ("weight", "lora_a")}
    return Surgery(after, after, edits=edits)


def identity_projection(
    hidden_size: int, *, rank: int, scaling: float, seed: int, like: Tensor
) -> APTLinear:
    """Tr: a frozen identity with a trainable low-rank branch.

    Args:
        hidden_size: hidden size of teacher and, at this moment, student.
        rank: rank of the branch.
        scaling: its factor.
        seed: seed of the branch: all workers draw the same.
        like: a tensor of the wanted device and dtype.

    Returns:
        The projection from student to teacher hidden states.
    """
    weight = nn.Parameter(torch.eye(hidden_size, dtype=like.dtype), requires_grad=False)
    projection = APTLinear(weight, None, scaling=scaling)
    projection.add_branch(rank, torch.Generator().manual_seed(seed))
    return projection.to(like.device)

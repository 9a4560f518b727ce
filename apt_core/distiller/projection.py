"""The layer projection Tr: made with the teacher, kept in step with the student's hidden size."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from apt_core.models.surgery_record import Surgery, TensorEdit


class LayerProjection(nn.Module):
    """Tr(X) = E X + s * B A X: a frozen identity with a trainable low-rank branch.

    X has shape (..., hidden size of the student). E lays its dimensions where the teacher has them:
    the identity from whose columns the student's surgeries have taken some. It is kept as indices,
    not as a matrix, because a product with it would cost as much as one of the student's own.

    Args:
        hidden_size: hidden size of teacher and, at this moment, student.
        rank: rank of the branch; A (rank, student) is Kaiming-uniform, B (teacher, rank) zero.
        scaling: s.
        seed: seed of the branch: all workers draw the same.
        like: a tensor of the wanted device and dtype.
    """

    kept: Tensor
    """(student,) the teacher's dimensions that the student still has, sorted."""

    def __init__(
        self, hidden_size: int, *, rank: int, scaling: float, seed: int, like: Tensor
    ) -> None:
        super().__init__()
        self.out_features = hidden_size
        self.scaling = scaling
        lora_a = torch.empty(rank, hidden_size, dtype=like.dtype)
        nn.init.kaiming_uniform_(lora_a, a=5**0.5, generator=torch.Generator().manual_seed(seed))
        self.lora_a = nn.Parameter(lora_a)
        self.lora_b = nn.Parameter(torch.zeros(hidden_size, rank, dtype=like.dtype))
        self.register_buffer("kept", torch.arange(hidden_size))
        self.to(like.device)

    @property
    def in_features(self) -> int:
        """Hidden size of the student."""
        return self.kept.numel()

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., student) to (..., teacher)."""
        bottleneck = functional.linear(x, self.lora_a) * self.scaling
        y = functional.linear(bottleneck, self.lora_b)
        return y + x if self.in_features == self.out_features else y.index_add_(-1, self.kept, x)

    def narrow_input(self, in_features: int) -> None:
        """Cut it to its first inputs; for rebuilding a shape before its values are known."""
        self._keep(TensorEdit(keep=((1, torch.arange(in_features)),)))

    def slice(self, surgery: Surgery) -> Surgery:
        """Drop the inputs that belong to hidden dimensions the student has lost.

        Args:
            surgery: the student's surgery.

        Returns:
            The record of the projection's own edits, on the structure after the surgery.
        """
        after = surgery.structure_after
        if surgery.kept is None or surgery.kept.hidden.numel() == self.in_features:
            return Surgery(after, after)
        edit = TensorEdit(keep=((1, surgery.kept.hidden),))
        self._keep(edit)
        return Surgery(after, after, edits={"projection.lora_a": edit})

    def _keep(self, edit: TensorEdit) -> None:
        self.lora_a = nn.Parameter(edit.apply(self.lora_a.detach()))
        self.kept = edit.apply(self.kept.unsqueeze(0)).squeeze(0)

"""What a surgery did, as a value that everyone who held on to the old shapes can follow."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from apt_core.models.structure import Structure


@dataclass(frozen=True)
class TensorEdit:
    """How one tensor changes: keep these indices, then pad with zeros."""

    keep: tuple[tuple[int, Tensor], ...] = ()
    """Pairs (dimension, kept_indices: sorted LongTensor)."""
    pad: tuple[tuple[int, int], ...] = ()
    """Pairs (dimension, new size); the new entries are zeros at the end."""

    def apply(self, tensor: Tensor) -> Tensor:
        """The edited copy of a tensor of the parameter's old shape (weight or Adam moment)."""
        for dim, kept_indices in self.keep:
            tensor = tensor.index_select(dim, kept_indices.to(tensor.device))
        for dim, size in self.pad:
            shape = list(tensor.shape)
            shape[dim] = size - shape[dim]
            tensor = torch.cat([tensor, tensor.new_zeros(shape)], dim=dim)
        return tensor.contiguous()


@dataclass(frozen=True)
class KeptBlocks:
    """Which blocks stay: sorted indices relative to the structure before the surgery."""

    units: Mapping[str, Tensor]
    """Sub-block name -> kept head or neuron indices (LongTensor, possibly empty)."""
    hidden: Tensor
    """Kept hidden dimensions (LongTensor)."""


@dataclass(frozen=True)
class Surgery:
    """The record of one change of shape.

    Parameter names are those of the module that the engine trains.
    """

    structure_before: Structure
    structure_after: Structure
    edits: Mapping[str, TensorEdit] = field(default_factory=dict)
    """Parameters that live on with another shape."""
    removed: frozenset[str] = frozenset()
    """Parameters that are gone."""
    added: frozenset[str] = frozenset()
    """Parameters that are new: no history, zero moments. May have the name of a removed one."""
    kept: KeptBlocks | None = None
    """Set when blocks were pruned."""
    rank_changes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Adapter site -> (rank before, rank after)."""
    teacher_changed: bool = False
    """A teacher was taken or dropped."""


def nothing_done(structure: Structure) -> Surgery:
    """The record of no surgery at all."""
    return Surgery(structure, structure)


def combine(first: Surgery, second: Surgery) -> Surgery:
    """One record of two surgeries in a row.

    At most one of the two may slice and at most one may grow, so that an edit stays "keep, then
    pad".
    """
    edits = dict(first.edits)
    for name, edit in second.edits.items():
        before = edits.get(name, TensorEdit())
        edits[name] = TensorEdit(before.keep + edit.keep, before.pad + edit.pad)
    removed = first.removed | second.removed
    return Surgery(
        structure_before=first.structure_before,
        structure_after=second.structure_after,
        edits={name: edit for name, edit in edits.items() if name not in removed},
        removed=removed,
        added=(first.added - second.removed) | second.added,
        kept=first.kept if second.kept is None else second.kept,
        rank_changes={**first.rank_changes, **second.rank_changes},
        teacher_changed=first.teacher_changed or second.teacher_changed,
    )

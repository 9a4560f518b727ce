"""Edits on tensors, and two surgeries told as one."""

import torch

from apt_core.models.structure import Structure
from apt_core.models.surgery_record import (
    KeptBlocks,
    Surgery,
    TensorEdit,
    combine,
    nothing_done,
)

A, B, C = (Structure(size, ()) for size in (8, 6, 4))


def test_an_edit_keeps_then_pads_with_zeros() -> None:
    tensor = torch.arange(12.0).reshape(3, 4)
    edit = TensorEdit(
        keep=((0, torch.tensor([0, 2])), (1, torch.tensor([1, 3]))), pad=((1, 4), (0, 3))
    )
    expected = torch.tensor([[1.0, 3, 0, 0], [9, 11, 0, 0], [0, 0, 0, 0]])
    result = edit.apply(tensor)
    assert torch.equal(result, expected)
    assert result.is_contiguous()
    assert torch.equal(tensor, torch.arange(12.0).reshape(3, 4))


def test_an_edit_keeps_the_type_and_can_leave_nothing() -> None:
    tensor = torch.ones(3, 2, dtype=torch.bfloat16)
    assert TensorEdit(pad=((0, 5),)).apply(tensor).dtype is torch.bfloat16
    assert TensorEdit(keep=((0, torch.arange(0)),)).apply(tensor).shape == (0, 2)


def test_nothing_done_changes_nothing() -> None:
    surgery = nothing_done(A)
    assert surgery.structure_before is surgery.structure_after is A
    assert (surgery.edits, surgery.rank_changes) == ({}, {})
    assert surgery.removed == surgery.added == frozenset()
    assert surgery.kept is None
    assert not surgery.teacher_changed


def test_two_surgeries_in_a_row_edit_as_their_combination_does() -> None:
    kept = torch.tensor([0, 2])
    cut = Surgery(
        A,
        B,
        edits={"a": TensorEdit(keep=((1, kept),)), "cut only": TensorEdit(keep=((0, kept),))},
        kept=KeptBlocks({}, kept),
    )
    grown = Surgery(
        B,
        C,
        edits={"a": TensorEdit(pad=((0, 5),)), "grown only": TensorEdit(pad=((1, 6),))},
        rank_changes={"site": (2, 5)},
    )
    both = combine(cut, grown)
    assert (both.structure_before, both.structure_after) == (A, C)
    assert both.edits.keys() == {"a", "cut only", "grown only"}
    for name in both.edits:
        tensor = torch.rand(3, 4)
        expected = cut.edits.get(name, TensorEdit()).apply(tensor)
        expected = grown.edits.get(name, TensorEdit()).apply(expected)
        assert torch.equal(both.edits[name].apply(tensor), expected)
    assert both.kept is cut.kept
    assert combine(grown, cut).kept is cut.kept
    assert both.rank_changes == {"site": (2, 5)}


def test_what_is_removed_is_no_longer_edited_or_new() -> None:
    edit = TensorEdit(keep=((0, torch.tensor([0])),))
    first = Surgery(A, B, edits={"x": edit, "y": edit}, added=frozenset({"new", "fleeting"}))
    second = Surgery(B, C, removed=frozenset({"x", "fleeting"}), added=frozenset({"late"}))
    both = combine(first, second)
    assert both.edits.keys() == {"y"}
    assert both.added == {"new", "late"}
    assert both.removed == {"x", "fleeting"}


def test_what_is_removed_and_taken_anew_has_no_history() -> None:
    dropped = Surgery(A, A, removed=frozenset({"projection"}), teacher_changed=True)
    taken = Surgery(A, A, added=frozenset({"projection"}), teacher_changed=True)
    both = combine(dropped, taken)
    assert "projection" in both.removed
    assert "projection" in both.added
    assert both.teacher_changed
    assert combine(dropped, nothing_done(A)).teacher_changed

"""Tr loses the columns that the student has lost, and keeps on projecting to the teacher."""

import pytest
import torch

from apt_core.distiller.projection import slice_projection
from apt_core.distiller.self_distiller import identity_projection
from apt_core.models.structure import Structure
from apt_core.models.surgery_record import KeptBlocks, Surgery

BEFORE = Structure(8, ())
KEPT = torch.tensor([0, 3, 4, 7])


def projection_of():
    torch.manual_seed(0)
    projection = identity_projection(8, rank=2, scaling=2.0, seed=0, like=torch.zeros(1))
    torch.nn.init.normal_(projection.lora_b)
    return projection


def surgery_to(kept: torch.Tensor | None) -> Surgery:
    size = 8 if kept is None else len(kept)
    blocks = None if kept is None else KeptBlocks({}, kept)
    return Surgery(BEFORE, Structure(size, ()), kept=blocks)


def test_a_sliced_projection_computes_what_the_whole_one_did_on_a_zeroed_stream() -> None:
    projection = projection_of()
    stream = torch.zeros(3, 8)
    stream[:, KEPT] = torch.randn(3, 4)
    expected = projection(stream)
    slice_projection(projection, surgery_to(KEPT))
    assert (projection.in_features, projection.out_features) == (4, 8)
    torch.testing.assert_close(projection(stream[:, KEPT]), expected)


def test_the_record_leads_from_the_old_parameters_to_the_new_ones() -> None:
    projection = projection_of()
    before = {n: p.detach().clone() for n, p in projection.named_parameters()}
    surgery = surgery_to(KEPT)
    record = slice_projection(projection, surgery)
    assert record.structure_before is record.structure_after is surgery.structure_after
    assert record.edits.keys() == {"projection.weight", "projection.lora_a"}
    for name, parameter in projection.named_parameters():
        edit = record.edits.get(f"projection.{name}")
        expected = before[name] if edit is None else edit.apply(before[name])
        assert torch.equal(parameter, expected)


def test_what_was_frozen_stays_frozen_and_what_was_trained_stays_trained() -> None:
    projection = projection_of()
    slice_projection(projection, surgery_to(KEPT))
    trainable = {n for n, p in projection.named_parameters() if p.requires_grad}
    assert trainable == {"lora_a", "lora_b"}


@pytest.mark.parametrize("kept", [None, torch.arange(8)])
def test_nothing_happens_while_the_stream_keeps_its_width(kept: torch.Tensor | None) -> None:
    projection = projection_of()
    before = dict(projection.named_parameters())
    record = slice_projection(projection, surgery_to(kept))
    assert record.edits == {}
    assert all(p is before[n] for n, p in projection.named_parameters())

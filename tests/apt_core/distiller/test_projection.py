"""Tr loses the inputs that the student has lost, and keeps on projecting to the teacher."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from apt_core.distiller.projection import LayerProjection
from apt_core.models.structure import Structure
from apt_core.models.surgery_record import KeptBlocks, Surgery

BEFORE = Structure(8, ())
KEPT = torch.tensor([0, 3, 4, 7])


def projection_of(dtype: torch.dtype = torch.float32, hidden_size: int = 8) -> LayerProjection:
    like = torch.zeros(1, dtype=dtype)
    projection = LayerProjection(hidden_size, rank=2, scaling=2.0, seed=0, like=like)
    torch.manual_seed(0)
    torch.nn.init.normal_(projection.lora_b)
    return projection


def surgery_to(kept: Tensor | None) -> Surgery:
    size = 8 if kept is None else len(kept)
    blocks = None if kept is None else KeptBlocks({}, kept)
    return Surgery(BEFORE, Structure(size, ()), kept=blocks)


def by_matrix(projection: LayerProjection, matrix: Tensor, x: Tensor) -> Tensor:
    """Eq. 2 with E written out: what an adapter around a frozen identity computes."""
    bottleneck = functional.linear(x, projection.lora_a) * projection.scaling
    return functional.linear(x, matrix) + functional.linear(bottleneck, projection.lora_b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("num_kept", [64, 63, 40, 1])
def test_indices_give_the_very_bits_of_a_product_with_the_matrix(
    dtype: torch.dtype, num_kept: int
) -> None:
    torch.manual_seed(1)
    kept = torch.randperm(64)[:num_kept].sort().values
    projection = projection_of(dtype, 64)
    projection.slice(Surgery(BEFORE, BEFORE, kept=KeptBlocks({}, kept)))
    matrix = torch.eye(64, dtype=dtype)[:, kept]
    x, pull = torch.randn(3, 7, num_kept, dtype=dtype), torch.randn(3, 7, 64, dtype=dtype)
    outcomes = []
    for compute in (projection, lambda ours: by_matrix(projection, matrix, ours)):
        ours = x.clone().requires_grad_()
        inputs = (ours, projection.lora_a, projection.lora_b)
        y = compute(ours)
        outcomes.append((y.detach(), *torch.autograd.grad(y, inputs, pull)))
    for by_indices, expected in zip(*outcomes, strict=True):
        assert torch.equal(by_indices, expected)


def test_a_fresh_one_gives_back_what_it_reads() -> None:
    projection = LayerProjection(8, rank=2, scaling=2.0, seed=0, like=torch.zeros(1))
    states = torch.randn(2, 3, 8)
    assert torch.equal(projection(states), states)


def test_all_workers_draw_the_same_branch() -> None:
    first, second, other = (
        LayerProjection(8, rank=2, scaling=2.0, seed=seed, like=torch.zeros(1)).lora_a
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_a_sliced_projection_computes_what_the_whole_one_did_on_a_zeroed_stream() -> None:
    projection = projection_of()
    stream = torch.zeros(3, 8)
    stream[:, KEPT] = torch.randn(3, 4)
    expected = projection(stream)
    projection.slice(surgery_to(KEPT))
    assert (projection.in_features, projection.out_features) == (4, 8)
    torch.testing.assert_close(projection(stream[:, KEPT]), expected)


def test_a_second_cut_counts_from_the_first() -> None:
    projection = projection_of()
    projection.slice(surgery_to(KEPT))
    projection.slice(surgery_to(torch.tensor([1, 3])))
    assert projection.kept.tolist() == [3, 7]


def test_the_record_leads_from_the_old_parameters_to_the_new_ones() -> None:
    projection = projection_of()
    before = {n: p.detach().clone() for n, p in projection.named_parameters()}
    surgery = surgery_to(KEPT)
    record = projection.slice(surgery)
    assert record.structure_before is record.structure_after is surgery.structure_after
    assert record.edits.keys() == {"projection.lora_a"}
    for name, parameter in projection.named_parameters():
        edit = record.edits.get(f"projection.{name}")
        expected = before[name] if edit is None else edit.apply(before[name])
        assert torch.equal(parameter, expected)
        assert parameter.requires_grad


def test_a_checkpoint_brings_back_which_dimensions_are_left() -> None:
    projection, fresh = projection_of(), projection_of()
    projection.slice(surgery_to(KEPT))
    fresh.narrow_input(4)
    fresh.load_state_dict(projection.state_dict())
    states = torch.randn(2, 4)
    assert torch.equal(fresh(states), projection(states))


@pytest.mark.parametrize("kept", [None, torch.arange(8)])
def test_nothing_happens_while_the_stream_keeps_its_width(kept: Tensor | None) -> None:
    projection = projection_of()
    before = dict(projection.named_parameters())
    record = projection.slice(surgery_to(kept))
    assert record.edits == {}
    assert all(p is before[n] for n, p in projection.named_parameters())

"""The APT adapter against paper Eq. 2, written out."""

from typing import Any

import pytest
import torch
from torch import nn

from apt_core.adapters.linear import APTLinear


def layer_of(*, rank: int, bias: bool = True, seed: int = 0) -> APTLinear:
    torch.manual_seed(seed)
    stock: Any = nn.Linear(5, 7, bias=bias)
    layer = APTLinear(stock.weight, stock.bias, rank=rank, scaling=1.5)
    if rank > 0:
        nn.init.normal_(layer.lora_b)
    return layer


@pytest.mark.parametrize("rank", [0, 3])
@pytest.mark.parametrize("bias", [True, False])
@torch.no_grad()
def test_it_computes_equation_two_one_number_at_a_time(rank: int, bias: bool) -> None:
    layer = layer_of(rank=rank, bias=bias)
    layer.input_mask, layer.output_mask = torch.rand(5), torch.rand(7)
    x = torch.randn(2, 3, 5)
    y = layer(x).double()
    for row in range(2):
        for token in range(3):
            for o in range(7):
                total = 0.0 if layer.bias is None else layer.bias[o].double()
                for i in range(5):
                    weight = layer.weight[o, i].double()
                    for k in range(rank):
                        weight = weight + 1.5 * layer.lora_b[o, k] * layer.lora_a[k, i]
                    total = total + weight * x[row, token, i] * layer.input_mask[i]
                expected = total * layer.output_mask[o]
                assert float(y[row, token, o]) == pytest.approx(float(expected), abs=1e-5)


def test_a_fresh_branch_adds_nothing_but_can_learn() -> None:
    torch.manual_seed(0)
    stock: Any = nn.Linear(5, 7)
    layer = APTLinear(stock.weight, stock.bias, rank=2)
    x = torch.randn(4, 5)
    assert torch.equal(layer(x), stock(x))
    layer(x).sum().backward()
    # W_B is zero, so W_A gets no gradient yet; with both at zero nothing would ever move.
    assert layer.lora_b.grad is not None
    assert layer.lora_b.grad.abs().min() > 0
    assert layer.lora_a.abs().min() > 0


def test_new_rows_are_kaiming_uniform() -> None:
    layer = APTLinear(nn.Parameter(torch.zeros(3, 400)), None, rank=50)
    bound = 400**-0.5
    assert 0.95 * bound < layer.lora_a.abs().max().item() <= bound
    assert layer.lora_a.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)


def test_a_branch_drawn_with_a_generator_leaves_the_global_stream_alone() -> None:
    layer = APTLinear(nn.Parameter(torch.zeros(3, 4)), None)
    state = torch.get_rng_state()
    layer.add_branch(2, torch.Generator().manual_seed(7))
    first = layer.lora_a.detach().clone()
    layer.add_branch(2, torch.Generator().manual_seed(7))
    assert torch.equal(layer.lora_a, first)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_branch_has_the_type_of_the_weight() -> None:
    layer = APTLinear(nn.Parameter(torch.zeros(3, 4, dtype=torch.bfloat16)), None, rank=2)
    assert {p.dtype for p in layer.parameters()} == {torch.bfloat16}


def test_rank_zero_has_no_branch_parameters_and_masks_are_never_saved() -> None:
    layer = layer_of(rank=0)
    layer.input_mask = torch.ones(5)
    assert layer.state_dict().keys() == {"weight", "bias"}
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]


def test_the_weight_is_shared_and_stays_as_trainable_as_it_was() -> None:
    weight = nn.Parameter(torch.zeros(3, 4), requires_grad=False)
    layer = APTLinear(weight, None, rank=1)
    assert layer.weight is weight
    assert [n for n, p in layer.named_parameters() if p.requires_grad] == ["lora_a", "lora_b"]


def test_a_branch_of_another_rank_keeps_the_scaling() -> None:
    layer = layer_of(rank=2)
    layer.set_branch(torch.ones(4, 5), torch.ones(7, 4))
    assert (layer.rank, layer.scaling) == (4, 1.5)
    torch.testing.assert_close(layer.merged_weight(), layer.weight + 1.5 * 4.0)


def test_the_merged_weight_without_a_branch_is_a_copy() -> None:
    layer = layer_of(rank=0)
    merged = layer.merged_weight()
    assert torch.equal(merged, layer.weight)
    assert merged.data_ptr() != layer.weight.data_ptr()


def test_narrowing_keeps_the_first_inputs() -> None:
    layer = layer_of(rank=2)
    x = torch.randn(4, 5)
    x[:, 3:] = 0.0
    before = layer(x)
    layer.narrow_input(3)
    assert layer.in_features == 3
    torch.testing.assert_close(layer(x[:, :3]), before)
    assert not layer.weight.requires_grad
    assert layer.lora_a.requires_grad


def test_it_prints_its_shapes() -> None:
    assert repr(layer_of(rank=2)) == "APTLinear(5 -> 7, rank=2, scaling=1.5)"

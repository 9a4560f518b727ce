"""The masked norm against a stock norm over the dimensions that survive."""

import pytest
import torch
from torch import nn

from apt_core.adapters.norm import Bypass, MaskedLayerNorm

SURVIVORS = [0, 2, 3, 7]


def stock_norm(size: int = 8, *, eps: float = 1e-5) -> nn.LayerNorm:
    torch.manual_seed(0)
    norm = nn.LayerNorm(size, eps=eps)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm


def sliced_norm(norm: nn.LayerNorm) -> nn.LayerNorm:
    small = nn.LayerNorm(len(SURVIVORS), eps=norm.eps)
    small.weight = nn.Parameter(norm.weight[SURVIVORS])
    small.bias = nn.Parameter(norm.bias[SURVIVORS])
    return small


def mask_of(size: int = 8) -> torch.Tensor:
    mask = torch.zeros(size)
    mask[SURVIVORS] = 1.0
    return mask


def test_without_a_mask_it_is_the_stock_norm_and_shares_its_parameters() -> None:
    norm = stock_norm()
    masked = MaskedLayerNorm(norm)
    x = torch.randn(3, 8)
    assert torch.equal(masked(x), norm(x))
    assert masked.weight is norm.weight
    assert masked.bias is norm.bias


def test_dead_dimensions_do_not_count_whatever_they_hold() -> None:
    # A large eps: a wrong one would show.
    norm = stock_norm(eps=0.3)
    masked = MaskedLayerNorm(norm)
    masked.set_mask(mask_of())
    x = 100 * torch.randn(3, 8)
    y = masked(x)
    torch.testing.assert_close(y[:, SURVIVORS], sliced_norm(norm)(x[:, SURVIVORS]))
    assert y[:, [1, 4, 5, 6]].abs().max() == 0


def test_a_soft_mask_counts_in_full_until_it_is_zero() -> None:
    norm = stock_norm()
    masked = MaskedLayerNorm(norm)
    soft = torch.full((8,), 0.01)
    masked.set_mask(soft)
    x = torch.randn(3, 8)
    torch.testing.assert_close(masked(x), 0.01 * norm(x))
    assert masked.num_surviving == 8
    soft = soft.clone()
    soft[1] = 0.0
    masked.set_mask(soft)
    assert masked.num_surviving == 7
    masked.set_mask(None)
    assert masked.num_surviving == 8
    assert torch.equal(masked(x), norm(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_neither_overflows_nor_loses_its_eps(dtype: torch.dtype) -> None:
    # Squares of 300 are beyond fp16, and so is an eps of 1e-12 at the other end.
    norm = stock_norm(eps=1e-12)
    wide, narrow = MaskedLayerNorm(norm), MaskedLayerNorm(stock_norm(eps=1e-12).to(dtype))
    wide.set_mask(mask_of())
    narrow.set_mask(mask_of().to(dtype))
    x = (300 * torch.randn(3, 8)).to(dtype)
    x[0] = 0.0
    y = narrow(x)
    assert y.dtype is dtype
    torch.testing.assert_close(y.float(), wide(x.float()), atol=0.03, rtol=0.02)


def test_a_bypassed_norm_hands_its_input_through() -> None:
    masked = MaskedLayerNorm(stock_norm())
    masked.set_mask(mask_of())
    masked.is_bypassed = True
    x = torch.randn(3, 8)
    assert masked(x) is x


def test_the_mask_is_not_saved() -> None:
    masked = MaskedLayerNorm(stock_norm())
    masked.set_mask(mask_of())
    assert masked.state_dict().keys() == {"weight", "bias"}


def test_gradients_of_dead_dimensions_are_zero() -> None:
    masked = MaskedLayerNorm(stock_norm())
    masked.set_mask(mask_of())
    x = torch.randn(3, 8, requires_grad=True)
    masked(x).square().sum().backward()
    assert x.grad is not None
    assert x.grad[:, [1, 4, 5, 6]].abs().max() == 0
    assert x.grad[:, SURVIVORS].abs().min() > 0


def test_a_bypass_hands_the_chosen_input_through() -> None:
    a, b = torch.zeros(1), torch.ones(1)
    assert Bypass(0, as_tuple=False)(a, b) is a
    assert Bypass(1, as_tuple=False)(a, b) is b
    chosen, weights = Bypass(0, as_tuple=True)(a, attention_mask=b)
    assert chosen is a
    assert weights is None

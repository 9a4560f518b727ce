"""The masked norm against a stock norm over the dimensions that survive."""

import copy

import pytest
import torch
from torch import Tensor, nn

from apt_core.adapters.norm import MaskedLayerNorm, MaskedRMSNorm

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


class GemmaLikeNorm(nn.Module):
    """A norm with a convention of its own: the weight is an offset from 1."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(size))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * (1 + self.weight)


@pytest.mark.parametrize("stock", [lambda: nn.RMSNorm(8, eps=1e-6), lambda: GemmaLikeNorm(8)])
def test_a_masked_rms_norm_is_the_norm_of_the_survivors(stock) -> None:
    torch.manual_seed(0)
    norm, x = stock(), torch.randn(3, 8)
    norm.weight.data.add_(torch.randn(8))
    small = copy.deepcopy(norm)
    small.weight = nn.Parameter(norm.weight.detach()[SURVIVORS])
    if isinstance(small, nn.RMSNorm):
        small.normalized_shape = (len(SURVIVORS),)
    masked = MaskedRMSNorm(norm)
    masked.set_mask(mask_of())
    expected = torch.zeros(3, 8)
    expected[:, SURVIVORS] = small(x[:, SURVIVORS])
    torch.testing.assert_close(masked(x), expected * mask_of(), atol=1e-6, rtol=1e-5)
    masked.set_mask(None)
    torch.testing.assert_close(masked(x), norm(x), atol=0, rtol=0)


class ShiftedNorm(nn.Module):
    """A norm that multiplies by 1 + weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-0.5, 0.7, 8))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.rms_norm(x, (8,), eps=1e-6) * (1 + self.weight)


class PlainNorm(ShiftedNorm):
    """A norm that multiplies by its weight."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.rms_norm(x, (8,), eps=1e-6) * self.weight


@pytest.mark.parametrize("kind", [ShiftedNorm, PlainNorm])
def test_a_scaled_weight_scales_the_output_whatever_the_family_adds_to_it(kind) -> None:
    norm = MaskedRMSNorm(kind())
    x, factors = torch.randn(3, 8), torch.linspace(0.1, 2.0, 8)
    expected = norm(x).detach() * factors
    weight = norm.scaled_weight(factors)
    norm.weight.data = weight
    torch.testing.assert_close(norm(x).detach(), expected)

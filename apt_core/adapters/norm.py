"""Norms over the surviving hidden dimensions only."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class MaskedLayerNorm(nn.Module):
    """LayerNorm over the surviving dimensions, times the hidden mask.

    Mean and variance are taken over the dimensions whose mask is not 0: only then does the masked
    model compute what
    the sliced one will. A dimension at mask 0.01 still counts, at 0 it does not.

    Args:
        norm: the layer to take the parameters from (shared, not copied).
    """

    mask: Tensor | None

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.weight = norm.weight
        self.bias = norm.bias
        self.eps = norm.eps
        self.hidden_size = norm.normalized_shape[0]
        self.register_buffer("mask", None, persistent=False)
        self.num_surviving = self.hidden_size
        self.is_bypassed = False

    def set_mask(self, mask: Tensor | None) -> None:
        """Use this hidden mask, shape (hidden_size,), in [0, 1]; None: all ones."""
        self.mask = mask
        # Counted here, once per change, so that no forward pass has to ask the device.
        self.num_surviving = self.hidden_size if mask is None else int((mask != 0).sum())

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (..., hidden_size); a bypassed norm hands its input through."""
        if self.is_bypassed:
            return x
        if self.mask is None:
            return functional.layer_norm(x, (self.hidden_size,), self.weight, self.bias, self.eps)
        if self.num_surviving == self.hidden_size:
            y = functional.layer_norm(x, (self.hidden_size,), self.weight, self.bias, self.eps)
        else:
            y = self._norm_over_survivors(x, self.mask)
        return y * self.mask

    def _norm_over_survivors(self, x: Tensor, mask: Tensor) -> Tensor:
        # In fp32, as the stock norm does inside: fp16 squares overflow, and its eps is 0.
        survives = (mask != 0).float()
        wide = x.float()
        mean = (wide * survives).sum(-1, keepdim=True) / self.num_surviving
        centred = (wide - mean) * survives
        variance = centred.square().sum(-1, keepdim=True) / self.num_surviving
        normalised = centred * torch.rsqrt(variance + self.eps)
        return (normalised * self.weight.float() + self.bias.float()).to(x.dtype)


class MaskedRMSNorm(nn.Module):
    """RMSNorm whose mean square sees only the surviving dimensions, times the hidden mask.

    Families differ in how they apply the weight and in which precision, so the stock layer does the
    work. With k of d dimensions left, ``norm(c x) / c`` with ``c = sqrt(d / k)`` and x zero
    elsewhere is the norm over the k: ``mean((c x)^2) = sum(x^2) / k``.

    Args:
        norm: the stock layer, used as it is.
    """

    scale_in: Tensor | None
    scale_out: Tensor | None

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.inner = norm
        self.hidden_size = _weight_of(norm).numel()
        self.register_buffer("scale_in", None, persistent=False)
        self.register_buffer("scale_out", None, persistent=False)

    @property
    def weight(self) -> nn.Parameter:
        """The stock layer's weight."""
        return _weight_of(self.inner)

    @property
    def mask(self) -> Tensor | None:
        """What the output is multiplied with; None: all ones."""
        return self.scale_out

    def set_mask(self, mask: Tensor | None) -> None:
        """Use this hidden mask, shape (hidden_size,), in [0, 1]; None: all ones."""
        if mask is None:
            self.scale_in = self.scale_out = None
            return
        survives = (mask != 0).to(mask.dtype)
        factor = (self.hidden_size / survives.sum()).sqrt()
        self.scale_in, self.scale_out = survives * factor, mask / factor

    @torch.no_grad()
    def scaled_weight(self, factors: Tensor) -> Tensor:
        """The weight with which the stock layer gives its output times `factors`.

        Some families multiply by the weight, others by 1 + weight: a normalised 1 tells.
        """
        offset = (self._stock(torch.ones_like(self.weight)) - self.weight).mean().round()
        return (self.weight + offset) * factors - offset

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (..., hidden_size)."""
        if self.scale_in is None or self.scale_out is None:
            return self._stock(x)
        return self._stock(x * self.scale_in) * self.scale_out

    def _stock(self, x: Tensor) -> Tensor:
        y = self.inner(x)
        assert isinstance(y, Tensor)
        return y


def _weight_of(norm: nn.Module) -> nn.Parameter:
    weight = norm.weight
    assert isinstance(weight, nn.Parameter)
    return weight

"""LayerNorm whose statistics see only the hidden dimensions that survive."""

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


class Bypass(nn.Module):
    """Takes the place of a module whose sub-block is gone: hands one of its inputs through.

    Args:
        input_position: which positional input.
        as_tuple: return ``(input, None)``, as attention modules do.
    """

    def __init__(self, input_position: int, *, as_tuple: bool) -> None:
        super().__init__()
        self.input_position = input_position
        self.as_tuple = as_tuple

    def forward(self, *inputs: Tensor, **_: object) -> Tensor | tuple[Tensor, None]:
        """Return the chosen input."""
        chosen = inputs[self.input_position]
        return (chosen, None) if self.as_tuple else chosen

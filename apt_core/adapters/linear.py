"""The APT adapter: a frozen linear layer, a low-rank tuning branch, and masks on both sides."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class APTLinear(nn.Module):
    """Linear layer with a low-rank branch and block masks (paper Eq. 2).

    H(X) = m_o o ((W + s * W_B W_A) (X o m_i) + b), with X of shape (..., in_features), W
    (out_features, in_features),
    W_A (rank, in_features), W_B (out_features, rank), and s = `scaling` fixed at construction: it
    survives rank growth.
    A mask that is None stands for all ones and costs nothing. A rank of 0 means no branch: masks
    only.

    Args:
        weight: W; its `requires_grad` is left as it is.
        bias: b of shape (out_features,), or None.
        rank: rank of the branch; W_A is Kaiming-uniform, W_B zero, so that the layer's output
            is unchanged.
        scaling: s.
    """

    bias: nn.Parameter | None
    lora_a: nn.Parameter
    lora_b: nn.Parameter
    input_mask: Tensor | None
    output_mask: Tensor | None

    def __init__(
        self,
        weight: nn.Parameter,
        bias: nn.Parameter | None,
        *,
        rank: int = 0,
        scaling: float = 2.0,
    ) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.weight = weight
        self.register_parameter("bias", bias)
        self.scaling = scaling
        self.rank = 0
        self.register_parameter("lora_a", None)
        self.register_parameter("lora_b", None)
        self.register_buffer("input_mask", None, persistent=False)
        self.register_buffer("output_mask", None, persistent=False)
        if rank > 0:
            self.add_branch(rank)

    def add_branch(self, rank: int, generator: torch.Generator | None = None) -> None:
        """Give the layer a fresh tuning branch that adds zero."""
        lora_a = torch.empty(rank, self.in_features, dtype=self.weight.dtype)
        nn.init.kaiming_uniform_(lora_a, a=math.sqrt(5), generator=generator)
        self.set_branch(lora_a, torch.zeros(self.out_features, rank, dtype=self.weight.dtype))

    def set_branch(self, lora_a: Tensor, lora_b: Tensor) -> None:
        """Install W_A (rank, in_features) and W_B (out_features, rank), trainable."""
        self.rank = lora_a.shape[0]
        self.lora_a = nn.Parameter(lora_a)
        self.lora_b = nn.Parameter(lora_b)

    def narrow_input(self, in_features: int) -> None:
        """Cut the layer to its first inputs; for rebuilding a shape before its values are known."""
        self.weight = nn.Parameter(self.weight[:, :in_features].detach().clone(), False)
        if self.rank > 0:
            self.lora_a = nn.Parameter(self.lora_a[:, :in_features].detach().clone())
        self.in_features = in_features

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_features) to (..., out_features)."""
        if self.input_mask is not None:
            x = x * self.input_mask
        y = functional.linear(x, self.weight, self.bias)
        if self.rank > 0:
            # Scaling the (..., rank) bottleneck is cheaper than scaling the output.
            bottleneck = functional.linear(x, self.lora_a) * self.scaling
            y = y + functional.linear(bottleneck, self.lora_b)
        if self.output_mask is not None:
            y = y * self.output_mask
        return y

    @torch.no_grad()
    def merged_weight(self) -> Tensor:
        """W + s * W_B W_A, shape (out_features, in_features)."""
        if self.rank == 0:
            return self.weight.detach().clone()
        return self.weight + self.scaling * (self.lora_b @ self.lora_a)

    def extra_repr(self) -> str:
        """Shapes for printing."""
        return (
            f"{self.in_features} -> {self.out_features}, rank={self.rank}, scaling={self.scaling}"
        )

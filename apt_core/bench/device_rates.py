"""What the device can do at best: matrix products of the model's own shapes, and a large copy."""

import statistics
from collections.abc import Sequence

import torch

from apt_core.bench.flops import Rates, Rows
from apt_core.evaluator.turns import Call
from apt_core.models.structure import Structure

Shape = tuple[int, int, int]
"""m, k, n: (m, k) times (k, n)."""
COPIED_BYTES = 256 * 2**20
"""More than any cache holds."""
COPIED_BYTES_GPU = 2**30


def gemm_shapes(structure: Structure, rows: Rows) -> tuple[Shape, ...]:
    """The products of the largest attention and feed-forward sub-blocks: into them, out of them.

    Args:
        structure: the dense model's.
        rows: what a training step works on.

    Returns:
        Distinct shapes.
    """
    tokens, hidden = rows.rows * max(rows.tokens, rows.target_tokens), structure.hidden_size
    widths = {
        max(s.num_units * s.unit_width for s in structure.of_kind(kind))
        for kind in ("attention", "ffn")
    }
    both = ((tokens, hidden, w) for w in widths), ((tokens, w, hidden) for w in widths)
    return tuple(sorted({shape for shapes in both for shape in shapes}))


class DeviceWork:
    """Matrix products and a copy that take turns with what is measured.

    Args:
        shapes: of the products.
        dtype: the number format of forward and backward.
        device: where.
        copied_bytes: size of the copy; None: `COPIED_BYTES` or `COPIED_BYTES_GPU`.
    """

    def __init__(
        self,
        shapes: Sequence[Shape],
        dtype: torch.dtype,
        device: torch.device,
        copied_bytes: int | None = None,
    ) -> None:
        self.shapes = tuple(shapes)
        self._factors = [
            (torch.ones(m, k, dtype=dtype, device=device), torch.ones(k, n, dtype=dtype).to(device))
            for m, k, n in shapes
        ]
        size = COPIED_BYTES_GPU if device.type == "cuda" else COPIED_BYTES
        self._source = torch.ones(copied_bytes or size, dtype=torch.uint8, device=device)
        self._target = torch.empty_like(self._source)

    @property
    def calls(self) -> list[Call]:
        """One call per product, and the copy."""
        products = [lambda a=a, b=b: torch.mm(a, b) for a, b in self._factors]
        return [*products, lambda: self._target.copy_(self._source)]

    def rates(self, times: Sequence[Sequence[float]]) -> Rates:
        """What the times of `calls` say: of the products, the fastest one counts.

        Args:
            times: seconds of every call, in its order.

        Returns:
            The rates.
        """
        *products, copy = [statistics.median(taken) for taken in times]
        flops = [
            2 * m * k * n / seconds
            for (m, k, n), seconds in zip(self.shapes, products, strict=True)
        ]
        # A copy reads and writes.
        return Rates(max(flops), 2 * self._source.numel() / copy)

"""What devices can do, from their makers' data sheets; a benchmark's own rates replace them."""

from collections.abc import Mapping
from dataclasses import dataclass

GIB = 2**30
_TERA, _GIGA = 1e12, 1e9


@dataclass(frozen=True)
class Device:
    """One accelerator and its links."""

    memory_bytes: int
    """What it is sold with."""
    flops_per_s: Mapping[str, float]
    """Dense matrix products, by number format. fp32 is IEEE fp32: PyTorch leaves TF32 off."""
    bytes_per_s: float
    """Its memory, read and written."""
    link_bytes_per_s: float
    """To the other devices of its node, one way."""


def _half_and_single(half: float, single: float) -> Mapping[str, float]:
    return {"bf16": half * _TERA, "fp16": half * _TERA, "fp32": single * _TERA}


DEVICES: Mapping[str, Device] = {
    "a100-40": Device(40 * GIB, _half_and_single(312, 19.5), 1555 * _GIGA, 300 * _GIGA),
    "a100-80": Device(80 * GIB, _half_and_single(312, 19.5), 2039 * _GIGA, 300 * _GIGA),
    "h100": Device(80 * GIB, _half_and_single(989.4, 66.9), 3350 * _GIGA, 450 * _GIGA),
    "h200": Device(141 * GIB, _half_and_single(989.4, 66.9), 4800 * _GIGA, 450 * _GIGA),
}
"""SXM boards, from NVIDIA's data sheets of A100, H100 and H200; products of dense matrices."""
EFFICIENCY = 0.4
"""Assumed share of a data sheet's rates that a training step reaches. Not measured."""
NODE_LINK_BYTES_PER_S = 50 * _GIGA
"""Assumed, between nodes, per device and one way: one 400 Gbit/s port each. Not measured."""
USABLE = 0.9
"""Assumed share of a device's memory that tensors can have: the driver's context, gaps between
allocations and the moments of a change of shape take the rest. Not measured.
"""

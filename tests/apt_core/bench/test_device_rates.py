"""Shapes come from the model, and rates from the times that a clock gives."""

import torch

from apt_core.bench.device_rates import DeviceWork, gemm_shapes
from apt_core.bench.flops import Rates, Rows
from apt_core.evaluator.turns import times_in_turns
from tests.reference.structures import roberta_base

CPU = torch.device("cpu")


def test_the_products_are_those_of_the_largest_sub_blocks() -> None:
    assert gemm_shapes(roberta_base(), Rows(2, 64)) == (
        (128, 768, 768),
        (128, 768, 3072),
        (128, 3072, 768),
    )


def test_rates_by_hand() -> None:
    work = DeviceWork([(2, 3, 4), (2, 5, 5)], torch.float32, CPU, copied_bytes=100)
    # 48 operations in 2 s, 100 in 1 s; a copy reads 100 bytes and writes 100, in 4 s.
    rates = work.rates([[2.0, 1.0, 3.0], [1.0, 1.0, 9.0], [4.0, 4.0, 5.0]])
    assert rates == Rates(flops_per_s=100.0, bytes_per_s=50.0)


def test_each_call_does_its_own_work() -> None:
    work = DeviceWork([(2, 3, 4), (2, 5, 5)], torch.bfloat16, CPU, copied_bytes=64)
    first, second, copy = (call() for call in work.calls)
    assert (first.shape, second.shape) == ((2, 4), (2, 5))
    assert first.dtype == torch.bfloat16
    assert float(first[0, 0]) == 3.0
    assert copy.numel() == 64
    assert bool((copy == 1).all())
    rates = work.rates(times_in_turns([work.calls], warmup=1, repeats=3))
    assert rates.flops_per_s > 0
    assert rates.bytes_per_s > 0

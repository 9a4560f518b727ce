"""Peak memory of one phase, measured where nothing else has been."""

import gc
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import torch

T = TypeVar("T")

PRELOADED = ("apt_core.trainer.build_bench",)
"""Imported before a fresh process begins, so that it starts at once and libraries do not count."""


@dataclass(frozen=True)
class PeakMemory:
    """What a phase holds at most."""

    peak_gib: float
    """Allocated tensors on CUDA, the process's resident memory on a CPU."""
    before_gib: float
    """The same before the model was there: libraries and nothing else."""

    @property
    def added_gib(self) -> float:
        """What the training itself added: weights, gradients, optimizer, activations."""
        return self.peak_gib - self.before_gib


def in_isolation(measure: Callable[[], T], device: torch.device) -> T:
    """Call something where memory tells of nothing else.

    The GPU's allocator counts exactly, so it is enough that nothing else is alive. A CPU's resident
    memory keeps what was freed, so there it takes a fresh process.

    Args:
        measure: what to call; on a CPU it is sent to another process.
        device: where it measures.

    Returns:
        Its result.
    """
    if device.type == "cuda":
        _forget()
        try:
            return measure()
        finally:
            _forget()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(measure).result()


def _forget() -> None:
    """Free what only cycles keep alive, and what the allocator holds back."""
    gc.collect()
    torch.cuda.empty_cache()

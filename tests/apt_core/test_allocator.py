"""What is freed stays in the process, until it is asked for: counted in page faults and bytes."""

import platform
import resource
import subprocess
import sys

import pytest

# The largest block fits into no hole that the others leave: by itself the C library fetches it anew
# each time, wherever the heap lies. A fault is one small page, also where the system prefers huge.
_LARGEST_MB = 256
_LOOP = """
import ctypes, resource
PR_SET_THP_DISABLE = 41
assert ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0
{prepare}
import torch

def use(megabytes):
    torch.ones(megabytes * 2**18).add_(1)

def backward_too():
    x = torch.ones(2**22, requires_grad=True)
    (x * x).sum().backward()

for _ in range(8):  # until the heap has found its size
    use(16), use({largest}), backward_too()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    use(16), use({largest}), backward_too()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _page_faults(prepare: str) -> int:
    script = _LOOP.format(prepare=prepare, largest=_LARGEST_MB)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_freed_blocks_of_every_size_and_thread_are_used_again() -> None:
    keep = "from apt_core.allocator import keep_freed_memory; assert keep_freed_memory()"
    pages = 10 * _LARGEST_MB * 2**20 // resource.getpagesize()
    without = _page_faults("")
    assert without >= pages, "the C library hands large blocks back by itself"
    # Not none: where the heap lies differs from start to start, and it may still grow once.
    assert _page_faults(keep) < without / 4


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_a_new_measurement_of_memory_does_not_count_what_was_freed() -> None:
    script = """
from apt_core.allocator import keep_freed_memory; assert keep_freed_memory()
import torch
from apt_core.evaluator.memory import current_memory_gib, peak_memory_gib, reset_peak_memory
before = current_memory_gib()
blocks = [torch.ones(2**24) for _ in range(4)]
last = torch.ones(2**10)  # on top of them: trimming the top alone would release nothing
del blocks
kept = current_memory_gib()
reset_peak_memory()
print(kept - before, peak_memory_gib() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    kept, after = map(float, done.stdout.split())
    assert kept > 0.2, "kept for the next step"
    assert after < 0.05, "but not charged to it"

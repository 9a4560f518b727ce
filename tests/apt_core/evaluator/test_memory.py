"""Memory of a process that is told to take some."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from apt_core.evaluator import memory

ALLOCATE = """
import torch
from apt_core.evaluator.memory import current_memory_gib, peak_memory_gib

print(current_memory_gib())
held = torch.ones(64 * 1024**2)  # 256 MiB, touched
print(current_memory_gib(), peak_memory_gib())
del held
print(current_memory_gib(), peak_memory_gib())
"""
no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="measures the allocator instead")


@pytest.fixture
def status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "status"
    path.write_bytes(b"Name:\tT\xc3\xbcr\nVmHWM:\t 2097152 kB\nVmRSS:\t 1048576 kB\n")
    monkeypatch.setattr(memory, "_STATUS", path)
    return path


@no_cuda
def test_resident_memory_is_read_in_gib_whatever_the_process_is_called(status: Path) -> None:
    assert memory.peak_memory_gib() == 2.0
    assert memory.current_memory_gib() == 1.0


@no_cuda
def test_a_system_that_does_not_say_counts_as_zero(
    status: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status.write_text("Name:\tpython\n")
    assert memory.peak_memory_gib() == 0.0
    monkeypatch.setattr(memory, "_STATUS", status.with_name("absent"))
    assert memory.current_memory_gib() == 0.0


@no_cuda
def test_a_reset_asks_the_kernel_and_survives_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "clear_refs"
    monkeypatch.setattr(memory, "_CLEAR_REFS", path)
    memory.reset_peak_memory()
    assert path.read_text() == "5"
    monkeypatch.setattr(memory, "_CLEAR_REFS", tmp_path / "no" / "such" / "folder")
    memory.reset_peak_memory()


@no_cuda
@pytest.mark.skipif(not memory._STATUS.exists(), reason="no /proc")
def test_a_real_allocation_shows_in_both_numbers() -> None:
    # In a process of its own: one that trained before keeps what it frees.
    command = [sys.executable, "-c", ALLOCATE]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    before, held, held_peak, after, after_peak = map(float, result.stdout.split())
    assert held - before > 0.2
    assert held_peak >= before + 0.2
    assert after - before < 0.1
    assert after_peak >= before + 0.2


@pytest.mark.gpu
def test_on_a_gpu_the_allocator_is_asked() -> None:
    torch.cuda.empty_cache()
    memory.reset_peak_memory()
    before = memory.current_memory_gib()
    held = torch.ones(64 * 1024**2, device="cuda")
    assert memory.current_memory_gib() - before == pytest.approx(0.25)
    del held
    assert memory.peak_memory_gib() - before == pytest.approx(0.25)
    memory.reset_peak_memory()
    assert memory.peak_memory_gib() == pytest.approx(before)

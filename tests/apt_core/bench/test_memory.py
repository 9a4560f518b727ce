"""The peak in tensors is what is there and what comes on top; a fresh process knows no others."""

import os

import pytest
import torch
from torch._subclasses import FakeTensorMode

from apt_core.bench.memory import in_isolation, live_tensor_bytes, peak_of

CPU = torch.device("cpu")
MIB = 2**20
GIB = 2**30


def test_tensors_that_share_memory_count_once() -> None:
    before = live_tensor_bytes()
    held = torch.zeros(3 * MIB, dtype=torch.uint8)
    view = held[5:]
    assert live_tensor_bytes() - before == 3 * MIB
    del held
    assert live_tensor_bytes() - before == 3 * MIB
    del view
    assert live_tensor_bytes() == before


def test_what_a_tracer_left_behind_takes_no_memory() -> None:
    before = live_tensor_bytes()
    with FakeTensorMode():
        left_behind = torch.zeros(3 * MIB, dtype=torch.uint8)
    assert left_behind.device == CPU
    assert live_tensor_bytes() == before


def test_the_peak_is_what_was_there_and_the_most_that_came_on_top() -> None:
    before = live_tensor_bytes()
    held = torch.zeros(4 * MIB, dtype=torch.uint8)

    def work() -> None:
        first = torch.empty(8 * MIB, dtype=torch.uint8)
        del first
        second = torch.empty(5 * MIB, dtype=torch.uint8)
        third = torch.empty(6 * MIB, dtype=torch.uint8)
        del second, third

    peak = peak_of(work, CPU)
    # 4 stay; 8 come and go, then 5 and 6 at once.
    assert peak.tensors_gib * GIB == pytest.approx(before + 15 * MIB, abs=1000)
    assert peak.resident_gib is not None
    assert peak.resident_gib > peak.tensors_gib
    assert held.numel() == 4 * MIB


def pid_and_tensors() -> tuple[int, int]:
    return os.getpid(), live_tensor_bytes()


def test_a_cpu_is_measured_in_another_process() -> None:
    held = torch.zeros(4 * MIB, dtype=torch.uint8)
    pid, num_bytes = in_isolation(pid_and_tensors, CPU)
    assert pid != os.getpid()
    assert num_bytes < held.numel()


def test_a_gpu_is_measured_in_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    emptied: list[bool] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(True))
    assert in_isolation(os.getpid, torch.device("cuda", 0)) == os.getpid()
    assert emptied == [True, True]

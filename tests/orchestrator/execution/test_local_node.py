import os
import platform
from pathlib import Path

import psutil
import pytest

from orchestrator.execution import local_node as module
from orchestrator.execution.local_node import (
    has_gpu_device,
    lacks_bf16_units,
    local_node,
    num_local_gpus,
)


def test_this_machine_is_one_node_with_the_cpus_that_this_process_may_use() -> None:
    node = local_node(with_gpus=False)
    assert node.name == platform.node()
    assert node.cpus == len(os.sched_getaffinity(0))
    assert node.gpus == ()
    assert 0 < node.memory_gib < psutil.virtual_memory().total / 2**30
    assert node.holds_drivers


def test_no_device_file_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GPU_DEVICES", ("/nowhere/nvidia[0-9]*",))
    assert not has_gpu_device()
    assert num_local_gpus() == 0
    assert local_node(with_gpus=True).gpus == ()


def test_where_there_is_a_device_file_torch_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GPU_DEVICES", ("/dev/nul*",))
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert local_node(with_gpus=True).gpus == (1.0, 1.0)


@pytest.mark.parametrize(
    ("text", "lacking"),
    [
        ("flags\t\t: fpu avx2 avx512_bf16 fma\n", False),
        ("flags\t\t: fpu avx2 amx_bf16\n", False),
        ("Features\t: fp asimd bf16\n", False),
        ("model name\t: a bf16 wonder\nflags\t\t: fpu avx2 fma\n", True),
        ("nothing of the kind\n", False),  # another system: nobody knows
    ],
)
def test_the_processor_says_whether_it_computes_in_bf16(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, lacking: bool
) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(module, "CPU_FLAGS", tmp_path / "cpuinfo")
    assert lacks_bf16_units() == lacking
    (tmp_path / "cpuinfo").unlink()
    assert not lacks_bf16_units()

import os
import platform

import psutil
import pytest

from orchestrator.execution import local_node as module
from orchestrator.execution.local_node import has_gpu_device, local_node, num_local_gpus


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

"""This machine as a node, without starting Ray: what a private cluster on it would have."""

import os
import platform
from glob import glob
from pathlib import Path

import psutil

from orchestrator.execution.placement import Node

CPU_FLAGS = Path("/proc/cpuinfo")
BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""Of x86 and of Arm."""
GPU_DEVICES = ("/dev/nvidia[0-9]*", "/dev/kfd", "/dev/dxg")
"""Device files of NVIDIA, of AMD, and of Windows' subsystem for Linux."""


def local_node(*, with_gpus: bool) -> Node:
    """This machine with what is free on it.

    Ray keeps a little of the memory for itself: its own number is the last word.

    Args:
        with_gpus: Whether to count GPUs, which takes seconds where there are any.

    Returns:
        The node.
    """
    return Node(
        name=platform.node(),
        cpus=float(num_local_cpus()),
        gpus=(1.0,) * (num_local_gpus() if with_gpus else 0),
        memory_gib=psutil.virtual_memory().available / 2**30,
    )


def num_local_cpus() -> int:
    """CPUs that this process may use, which a container or a batch system may have cut down."""
    return len(os.sched_getaffinity(0))


def num_local_gpus() -> int:
    """GPUs that this process may use."""
    if not has_gpu_device():
        return 0
    import torch

    return torch.cuda.device_count()


def has_gpu_device() -> bool:
    """Whether this machine shows a GPU's device file."""
    return any(glob(pattern) for pattern in GPU_DEVICES)


def lacks_bf16_units() -> bool:
    """Whether this machine's processor says that it can do no sums in bf16.

    PyTorch then computes them one by one: a product of two 1024 x 1024 matrices on one core of an
    AMD EPYC without such units ran at 0.9 GFLOP/s in bf16, at 66 in fp32.
    """
    try:
        text = CPU_FLAGS.read_text(encoding="utf-8")
    except OSError:
        return False  # nobody knows
    lines = [line for line in text.splitlines() if line.startswith(("flags", "Features"))]
    return bool(lines) and not any(BF16_FLAGS & set(line.split()) for line in lines)

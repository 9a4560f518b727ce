"""This machine as a node, without starting Ray: what a private cluster on it would have."""

import os
import platform
from glob import glob

import psutil

from orchestrator.execution.placement import Node

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

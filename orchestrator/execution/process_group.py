"""Ray Train workers that join one PyTorch process group; only they import torch.

Ray's own `TorchTrainer` imports torch in the trial's driver and in the controller as well, and
starts a process that hands out Ray datasets and one that frees what a dead controller has reserved
(here `orphans` does). A trial has no use for any of it, and each costs seconds of processor time at
every start.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psutil
import ray
from ray.exceptions import GetTimeoutError
from ray.train._internal.utils import get_address_and_port
from ray.train.backend import Backend, BackendConfig
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

logger = logging.getLogger(__name__)

NOT_NEEDED = (DatasetsCallback, PlacementGroupCleanerCallback)
LEAVE_TIMEOUT_S = 30.0
"""How long workers may take to leave their group; they are ended right after."""


class TorchWorkersTrainer(DataParallelTrainer):
    """Ray Train (V2) without the processes for Ray datasets and for dead controllers."""

    def _create_default_callbacks(self) -> list[Any]:
        callbacks = super()._create_default_callbacks()
        return [callback for callback in callbacks if not isinstance(callback, NOT_NEEDED)]


@dataclass
class ProcessGroupConfig(BackendConfig):
    """How the workers of a trial reach each other."""

    backend: str
    """Of `torch.distributed`: ``gloo`` or ``nccl``."""
    timeout_s: int
    """Of a collective; a worker that waits longer fails."""

    @property
    def backend_cls(self) -> type["ProcessGroupBackend"]:
        """What Ray's controller calls when the workers are there."""
        return ProcessGroupBackend

    @property
    def train_func_context(self) -> Any:
        """Around the training in each worker."""
        return on_own_device


class ProcessGroupBackend(Backend):
    """Makes one process group of the workers."""

    share_cuda_visible_devices = True

    def on_start(self, worker_group: Any, backend_config: ProcessGroupConfig) -> None:
        """Let all workers join at an address of the first one; returns when they have."""
        address, port = worker_group.execute_single(0, get_address_and_port)
        size = len(worker_group)
        joining = [
            worker_group.execute_single_async(
                rank,
                join_group,
                place={
                    "MASTER_ADDR": address,
                    "MASTER_PORT": str(port),
                    "RANK": str(rank),
                    "WORLD_SIZE": str(size),
                },
                backend=backend_config.backend,
                timeout_s=backend_config.timeout_s,
            )
            for rank in range(size)
        ]
        ray.get(joining)

    def on_shutdown(self, worker_group: Any, backend_config: ProcessGroupConfig) -> None:
        """Let all workers leave, where there is more than one; Ray tells of one that cannot."""
        if len(worker_group) > 1:
            try:
                ray.get(worker_group.execute_async(leave_group), timeout=LEAVE_TIMEOUT_S)
            except GetTimeoutError:
                logger.warning("workers did not leave their group within %s s", LEAVE_TIMEOUT_S)


def join_group(place: dict[str, str], backend: str, timeout_s: int) -> None:
    """In a worker: join the group; returns when all have.

    Args:
        place: The environment that PyTorch and DeepSpeed read: address, rank, number of workers.
        backend: Of `torch.distributed`.
        timeout_s: Of its collectives.
    """
    import torch.distributed

    context = ray.train.get_context()
    os.environ.update(
        place,
        LOCAL_RANK=str(context.get_local_rank()),
        LOCAL_WORLD_SIZE=str(context.get_local_world_size()),
        NODE_RANK=str(context.get_node_rank()),
    )
    if interface := interface_of(ray.util.get_node_ip_address()):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
    if backend == "nccl":
        # A collective that hangs must end the worker, not hang with it.
        os.environ.setdefault("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1")
    torch.distributed.init_process_group(
        backend,
        init_method="env://",
        rank=int(place["RANK"]),
        world_size=int(place["WORLD_SIZE"]),
        timeout=timedelta(seconds=timeout_s),
    )


def interface_of(address: str) -> str | None:
    """The network interface by which Ray reaches this node, for gloo to be reached by as well.

    Gloo by itself tells the other workers the address of the host's name, and many a machine's
    /etc/hosts holds a loopback address for that: workers of two nodes would never meet.

    Args:
        address: The node's address, as Ray knows it.

    Returns:
        Its name; None where no interface lists the address, e.g. 127.0.0.2.
    """
    for name, entries in psutil.net_if_addrs().items():
        if address in {entry.address.partition("%")[0] for entry in entries}:
            return str(name)
    return None


def leave_group() -> None:
    """In a worker: leave the group, if it is in one."""
    import torch.distributed

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@contextmanager
def on_own_device() -> Iterator[None]:
    """In the thread that trains: the worker's GPU, if it has one, is the current device."""
    import torch

    if torch.cuda.is_available():
        from ray.train.torch import get_device

        torch.cuda.set_device(get_device())
    yield

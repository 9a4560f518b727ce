"""Collectives as seen by one of several workers."""

import os
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist

from apt_core.trainer import distributed
from jobs.local import process_group
from orchestrator.execution.trial import WorkerGroup

PATIENCE_S, ASLEEP_S = 2, 12


def check_collectives(port: int | None = None) -> dict[str, Any]:
    number = distributed.rank() + 1.0
    tensors = [torch.full((2,), number), torch.full((1, 1), 10 * number, dtype=torch.bfloat16)]
    sums = distributed.all_reduce_sum(tensors)
    gathered = distributed.all_gather_flat(tensors[0])
    means = distributed.worker_means({"same": 3.0, "rank": distributed.rank()})
    distributed.broadcast_from_first(tensors)
    distributed.ensure_process_group(torch.device("cpu"))  # there is one: it stays
    result = {
        "rank": distributed.rank(),
        "sums": [t.tolist() for t in sums],
        "dtypes": [str(t.dtype) for t in sums],
        "gathered": gathered.tolist(),
        "means": means,
        "broadcast": [t.tolist() for t in tensors],
        "object": distributed.object_from_first({"from": [distributed.rank()]}),
        "group_was_kept": distributed.is_distributed(),
    }
    if distributed.world_size() == 1:
        distributed.leave_process_group()
        before = distributed.is_distributed()
        distributed.ensure_process_group(torch.device("cpu"))
        result["own_group"] = not before and distributed.is_distributed()
    if port is not None:
        result |= wait_in_vain(port)
    return result


def wait_in_vain(port: int) -> dict[str, Any]:
    """What worker 0 is told, and how long it waits; worker 1 sleeps meanwhile."""
    rank = distributed.rank()
    dist.destroy_process_group()  # the tests' own: it waits longer
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    workers = WorkerGroup(num_workers=2, collective_timeout_s=PATIENCE_S)
    with process_group(workers):
        distributed.barrier()
        group = dist.new_group([0, 1])  # as DeepSpeed makes its own
        distributed.share_timeout(group)
        began = time.monotonic()
        if rank == 1:
            time.sleep(ASLEEP_S)
            told = []
        else:
            told = [
                _told(lambda: distributed.any_worker(False)),
                _told(lambda: dist.all_reduce(torch.ones(1), group=group)),
            ]
        waited_s = time.monotonic() - began
    distributed.ensure_process_group(torch.device("cpu"))  # who called us leaves one
    return {"told": told, "waited_s": waited_s}


def _told(collective: Callable[[], object]) -> str:
    try:
        collective()
    except RuntimeError as error:
        return str(error)
    return ""

"""One of two workers that does not come to a collective."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist

from apt_core.trainer import distributed
from jobs.local import process_group
from orchestrator.execution.trial import WorkerGroup


@contextmanager
def suppress_and_tell(told: list[str]) -> Iterator[None]:
    """What was raised, as text."""
    try:
        yield
    except RuntimeError as error:
        told.append(str(error))


def wait_in_vain(port: int, timeout_s: int, asleep_s: float) -> dict[str, Any]:
    """What worker 0 is told, and after how many seconds; worker 1 sleeps meanwhile."""
    rank = distributed.rank()
    dist.destroy_process_group()  # the tests' own: it waits longer
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    told: list[str] = []
    waited_s = 0.0
    with process_group(WorkerGroup(num_workers=2, collective_timeout_s=timeout_s)):
        distributed.barrier()
        group = dist.new_group([0, 1])  # as DeepSpeed makes its own
        distributed.share_timeout(group)
        if rank == 1:
            time.sleep(asleep_s)
        else:
            began = time.monotonic()
            with suppress_and_tell(told):
                distributed.any_worker(False)
            with suppress_and_tell(told):
                dist.all_reduce(torch.ones(1), group=group)
            waited_s = time.monotonic() - began
    return {"told": told, "waited_s": waited_s}

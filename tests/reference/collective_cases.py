"""Collectives as seen by one of several workers."""

from typing import Any

import torch

from apt_core.trainer import distributed


def check_collectives() -> dict[str, Any]:
    number = distributed.rank() + 1.0
    tensors = [torch.full((2,), number), torch.full((1, 1), 10 * number, dtype=torch.bfloat16)]
    sums = distributed.all_reduce_sum(tensors)
    gathered = distributed.all_gather_flat(tensors[0])
    distributed.broadcast_from_first(tensors)
    distributed.ensure_process_group(torch.device("cpu"))  # there is one: it stays
    result = {
        "rank": distributed.rank(),
        "sums": [t.tolist() for t in sums],
        "dtypes": [str(t.dtype) for t in sums],
        "gathered": gathered.tolist(),
        "broadcast": [t.tolist() for t in tensors],
        "object": distributed.object_from_first({"from": [distributed.rank()]}),
        "group_was_kept": distributed.is_distributed(),
    }
    if distributed.world_size() == 1:
        distributed.leave_process_group()
        before = distributed.is_distributed()
        distributed.ensure_process_group(torch.device("cpu"))
        result["own_group"] = not before and distributed.is_distributed()
    return result

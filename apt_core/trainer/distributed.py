"""The few collectives that the trainer needs; without a process group they do nothing."""

import atexit
import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import HashStore
from torch.distributed import distributed_c10d


def is_distributed() -> bool:
    """Whether a process group exists in this process (it may hold one worker only)."""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """This worker's number among all workers, counted from 0."""
    return dist.get_rank() if is_distributed() else 0


def world_size() -> int:
    """How many workers train together."""
    return dist.get_world_size() if is_distributed() else 1


def collective_device() -> torch.device:
    """Where a tensor must lie to be sent to other workers: NCCL alone knows no CPU tensors."""
    on_gpu = is_distributed() and dist.get_backend() == dist.Backend.NCCL
    return torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")


def barrier() -> None:
    """Wait until every worker has come here."""
    if world_size() > 1:
        dist.barrier()


def all_reduce_sum(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Sum each tensor over the workers by one collective over one flat fp32 buffer.

    Every worker passes the same shapes in the same order. The sums come back as new tensors in the
    shapes and dtypes that went in; a single worker gets its own tensors back.
    """
    if world_size() == 1 or not tensors:
        return list(tensors)
    flat = torch.cat([tensor.detach().reshape(-1).float() for tensor in tensors])
    dist.all_reduce(flat)
    return [
        part.to(tensor.dtype) for part, tensor in zip(_split(flat, tensors), tensors, strict=True)
    ]


def any_worker(flag: bool) -> bool:
    """Whether the flag is set on at least one worker: the same answer everywhere."""
    (count,) = all_reduce_sum([torch.tensor(float(flag), device=collective_device())])
    return bool(count > 0)


def worker_means(values: Mapping[str, float]) -> dict[str, float]:
    """The mean over the workers of each number, to the precision of fp32.

    Every worker passes the same names in the same order; a single worker gets its own numbers back.
    """
    if world_size() == 1:
        return dict(values)
    local = torch.tensor(list(values.values()), dtype=torch.float32, device=collective_device())
    (total,) = all_reduce_sum([local])
    return dict(zip(values, (total / world_size()).tolist(), strict=True))


def all_gather_flat(local: Tensor) -> Tensor:
    """Every worker's flat tensor (same length everywhere), stacked: shape (workers, length)."""
    flat = local.detach().reshape(-1)
    if world_size() == 1:
        return flat.unsqueeze(0)
    parts = [torch.empty_like(flat) for _ in range(world_size())]
    dist.all_gather(parts, flat)
    return torch.stack(parts)


@torch.no_grad()
def broadcast_from_first(tensors: Sequence[Tensor]) -> None:
    """Overwrite the tensors in place with those of worker 0; one collective per dtype."""
    if world_size() == 1:
        return
    for dtype in sorted({tensor.dtype for tensor in tensors}, key=str):
        same = [tensor for tensor in tensors if tensor.dtype == dtype]
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in same])
        dist.broadcast(flat, src=0)
        for part, tensor in zip(_split(flat, same), same, strict=True):
            tensor.copy_(part)


def object_from_first(value: Any) -> Any:
    """Worker 0's value, on every worker; it must be picklable."""
    if world_size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0, device=collective_device())
    return values[0]


def share_timeout(group: dist.ProcessGroup) -> None:
    """Let a group wait as long as the group of all does, instead of torch's half an hour.

    For groups that a library makes: torch gives them its own default, whatever ours is.
    """
    assert dist.group.WORLD is not None
    # Neither has a public name in torch 2.13; a test holds them.
    backend: Any = dist.group.WORLD._get_backend(collective_device())
    distributed_c10d._set_pg_timeout(backend.options._timeout, group)


def ensure_process_group(device: torch.device) -> None:
    """Make a group of this one process if there is none, and leave it when the interpreter ends.

    A group that somebody else made (Ray Train, torchrun) is used as it is and left alone. No port
    is opened: the store of a single process is a dictionary in memory.
    """
    os.environ.setdefault("LOCAL_RANK", "0")
    if is_distributed():
        return
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=HashStore(), rank=0, world_size=1)
    atexit.register(leave_process_group)


def leave_process_group() -> None:
    """Destroy the process group if there is one. A worker that ends without this may abort."""
    if is_distributed():
        dist.destroy_process_group()


def _split(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    parts = torch.split(flat, [tensor.numel() for tensor in like])
    return [part.reshape(tensor.shape) for part, tensor in zip(parts, like, strict=True)]

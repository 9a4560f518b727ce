"""Where DeepSpeed 0.19 keeps the fp32 masters, as `Shard`s: the one place that knows its names.

These attributes are private to DeepSpeed. The version is pinned, and the engine's tests guard every
stage.
"""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from apt_core.trainer.distributed import world_size
from apt_core.trainer.shards import Piece, Shard

PARTITIONED = 3
"""The ZeRO stage that divides the parameters themselves."""


def zero_shards(optimizer: Any, names: Mapping[int, str], zero_stage: int) -> Iterator[Shard]:
    """Describe the masters inside the optimizer that DeepSpeed made.

    Args:
        optimizer: What ``deepspeed.initialize`` wrapped around AdamW, or AdamW itself.
        names: Parameter name by `id` of the trainable parameter.
        zero_stage: 0 to 3.

    Returns:
        One shard per tensor that AdamW updates.
    """
    if zero_stage == 0:
        return _whole(optimizer, names)
    return (_striped if zero_stage == PARTITIONED else _end_to_end)(optimizer, names)


def _whole(optimizer: Any, names: Mapping[int, str]) -> Iterator[Shard]:
    for parameter, master in _with_masters(optimizer):
        yield Shard(master, (Piece(names[id(parameter)], master.shape, 0, master.numel()),))


def _with_masters(optimizer: Any) -> Iterator[tuple[Tensor, Tensor]]:
    if isinstance(optimizer, torch.optim.Optimizer):  # fp32: nothing is wrapped
        parameters = chain.from_iterable(group["params"] for group in optimizer.param_groups)
        return ((parameter, parameter) for parameter in parameters)
    rounded, exact = map(chain.from_iterable, (optimizer.fp16_groups, optimizer.fp32_groups))
    return zip(rounded, exact, strict=True)


def _end_to_end(optimizer: Any, names: Mapping[int, str]) -> Iterator[Shard]:
    for parameters, starts, master in zip(
        optimizer.bit16_groups,
        optimizer.round_robin_bit16_offsets,
        optimizer.single_partition_of_fp32_groups,
        strict=True,
    ):
        pieces = tuple(
            Piece(names[id(parameter)], parameter.shape, start, parameter.numel())
            for parameter, start in zip(parameters, starts, strict=True)
        )
        yield Shard(master, pieces, num_parts=world_size())


def _striped(optimizer: Any, names: Mapping[int, str]) -> Iterator[Shard]:
    for parameters, master in zip(
        optimizer.fp16_groups, optimizer.fp32_partitioned_groups_flat, strict=True
    ):
        pieces = tuple(
            Piece(names[id(parameter)], torch.Size(parameter.ds_shape), start, length)
            for parameter in parameters
            for _, start, length in [optimizer.grad_position[optimizer.get_param_id(parameter)]]
        )
        yield Shard(master, pieces, num_parts=world_size(), striped=True)

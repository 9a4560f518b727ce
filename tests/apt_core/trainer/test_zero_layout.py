"""Reading DeepSpeed's layout, from stand-ins; the engine's tests read the real one."""

from types import SimpleNamespace

import torch
from torch import nn

from apt_core.trainer.shards import Piece
from apt_core.trainer.zero_layout import zero_shards

PARAMETERS = [nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(4))]
NAMES = {id(PARAMETERS[0]): "a", id(PARAMETERS[1]): "b"}
WHOLE = (Piece("a", torch.Size([2, 3]), 0, 6), Piece("b", torch.Size([4]), 0, 4))


def test_stage_0_in_fp32_has_the_parameters_themselves() -> None:
    shards = list(zero_shards(torch.optim.AdamW(PARAMETERS), NAMES, 0))
    assert [shard.master is p for shard, p in zip(shards, PARAMETERS, strict=True)] == [True] * 2
    assert [shard.pieces for shard in shards] == [(piece,) for piece in WHOLE]


def test_stage_0_in_half_precision_has_a_master_per_parameter() -> None:
    masters = [p.detach().clone() for p in PARAMETERS]
    optimizer = SimpleNamespace(
        fp16_groups=[[p] for p in PARAMETERS], fp32_groups=[masters[:1], masters[1:]]
    )
    shards = list(zero_shards(optimizer, NAMES, 0))
    assert [shard.master is m for shard, m in zip(shards, masters, strict=True)] == [True] * 2
    assert [shard.pieces for shard in shards] == [(piece,) for piece in WHOLE]


def test_stages_1_and_2_lay_a_group_end_to_end() -> None:
    flat = torch.zeros(10)
    optimizer = SimpleNamespace(
        bit16_groups=[PARAMETERS],
        round_robin_bit16_offsets=[[0, 6]],
        single_partition_of_fp32_groups=[flat],
    )
    for stage in (1, 2):
        (shard,) = zero_shards(optimizer, NAMES, stage)
        assert shard.master is flat
        assert not shard.striped
        assert shard.pieces == (WHOLE[0], Piece("b", torch.Size([4]), 6, 4))


def test_stage_3_lays_the_parts_of_each_parameter_end_to_end() -> None:
    flat = torch.zeros(5)
    partitioned = [nn.Parameter(torch.empty(0)), nn.Parameter(torch.empty(0))]
    for parameter, shape in zip(partitioned, [(2, 3), (4,)], strict=True):
        parameter.ds_shape = shape
    optimizer = SimpleNamespace(
        fp16_groups=[partitioned],
        fp32_partitioned_groups_flat=[flat],
        grad_position={id(partitioned[0]): [0, 0, 3], id(partitioned[1]): [0, 3, 2]},
        get_param_id=id,
    )
    names = {id(partitioned[0]): "a", id(partitioned[1]): "b"}
    (shard,) = zero_shards(optimizer, names, 3)
    assert shard.master is flat
    assert shard.striped
    assert shard.pieces == (Piece("a", torch.Size([2, 3]), 0, 3), Piece("b", torch.Size([4]), 3, 2))

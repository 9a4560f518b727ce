"""Relative position biases for layers that do not all keep the same heads.

T5 computes one bias on attention scores in the first layer, for all its heads, and hands it from
layer to layer. Once layers keep different heads that does not fit. So every layer gets a table of
its own: at first the first layer's parameter itself, after surgery a slice of it. Cross attention
has no table; its bias is zero.
"""

from torch import nn

from apt_core.models.arch import ModelMap, SubBlockMap
from apt_core.models.pruned_layers import (
    TABLE,
    share_position_table,
    with_zero_bias,
    without_bias,
)


def own_position_biases(model: nn.Module, model_map: ModelMap) -> None:
    """Let every layer compute its own bias; the output is unchanged, the table stays shared.

    Args:
        model: the task model, changed in place.
        model_map: where its parts are; families without such biases are left alone.
    """
    tables: dict[int, nn.Embedding] = {}
    for sub_block in model_map.sub_blocks:
        if sub_block.position_bias is None:
            continue
        attention = model.get_submodule(sub_block.attention)
        if sub_block.position_bias == "none":
            attention.register_forward_pre_hook(with_zero_bias, with_kwargs=True)
            continue
        attention.register_forward_pre_hook(without_bias, with_kwargs=True)
        if sub_block.stack not in tables:
            first = getattr(attention, TABLE)
            assert isinstance(first, nn.Embedding)
            tables[sub_block.stack] = first
        else:
            share_position_table(attention, tables[sub_block.stack])


def table_path(sub_block: SubBlockMap) -> str | None:
    """Path of a sub-block's table of biases, one column per head; None without one."""
    return f"{sub_block.attention}.{TABLE}" if sub_block.position_bias == "table" else None

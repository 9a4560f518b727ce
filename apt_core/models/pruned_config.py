"""The configuration of a pruned model from the unpruned one's and a structure."""

from collections.abc import Mapping
from typing import Any

from apt_core.models.arch import HeadGeometry
from apt_core.models.configuration_apt import CONFIGS
from apt_core.models.loading import family_of, head_geometry
from apt_core.models.spec import HeadKind, HeadSpec, StackSpec, SubBlockSpec
from apt_core.models.structure import Structure

HEADS, GROUPS, CROSS = "num_attention_heads", "num_key_value_heads", "cross_"
NEURONS = ("intermediate_size", "hidden_dim", "d_ff")
"""What the families call the number of neurons."""
_OF_THE_STOCK_CLASS = ("model_type", "architectures", "auto_map", "transformers_version")


def pruned_config(config: Any, head_kind: HeadKind, structure: Structure) -> Any:
    """A configuration of the family's pruned class.

    Args:
        config: the configuration of the unpruned model.
        head_kind: what the model predicts.
        structure: the shape after pruning.

    Returns:
        The configuration; every layer's heads and neurons stand in it.
    """
    spec = family_of(config)
    stacks = [_stack(stack, spec.heads[head_kind], config) for stack in spec.stacks]
    first, *others = [_layer_counts(stack, structure) for stack in stacks]
    fields = {n: v for n, v in config.to_dict().items() if n not in _OF_THE_STOCK_CLASS}
    pruned = CONFIGS[config.model_type](
        **fields,
        per_layer_config=dict(enumerate(first)),
        dense_hidden_size=config.hidden_size,
        apt_layout={"stacks": stacks, **_outside(config, head_kind)},
    )
    pruned.hidden_size = structure.hidden_size
    if others:
        pruned.target_layers = others[0]
    if "head_dim" not in pruned.attribute_map:
        pruned.head_dim = head_geometry(config).head_dim  # no longer the quotient of two others
    return pruned


def _outside(config: Any, head_kind: HeadKind) -> dict[str, list[str]]:
    """Where the residual stream goes outside the sub-blocks."""
    spec = family_of(config)
    head = spec.heads[head_kind]
    final = [stack.final_norm for stack in spec.stacks if stack.final_norm is not None]
    return {
        "embeddings": [head.inside(path) for path in spec.embeddings],
        "head_readers": list(head.readers),
        "norms": [head.inside(path) for path in (*spec.norms, *final)],
    }


def _stack(stack: StackSpec, head: HeadSpec, config: Any) -> dict[str, Any]:
    geometry = head_geometry(config)
    blocks = [_sub_block(s, config, geometry) for s in stack.sub_blocks]
    counts = [block["count"] for block in blocks]
    if GROUPS in counts:
        counts.insert(0, HEADS)
    return {
        "layers": head.inside(stack.layers),
        "counts": counts,
        "queries_per_group": geometry.queries_per_group,
        "sub_blocks": blocks,
    }


def _sub_block(spec: SubBlockSpec, config: Any, geometry: HeadGeometry) -> dict[str, Any]:
    is_attention = spec.kind == "attention"
    group = geometry.queries_per_group if is_attention else 1
    narrow = geometry.head_dim if is_attention else 1

    def width(role: str) -> int:
        return narrow if role in ("k_proj", "v_proj") else narrow * group

    return {
        "name": spec.name,
        "count": _count_name(spec, config),
        "readers": [[path, width(role)] for role, path in spec.readers],
        "writer": [spec.writer[1], width(spec.writer[0])],
        "norm": spec.norm,
        "bypass": [vars(bypass) for bypass in spec.bypass],
        "position_bias": spec.position_bias,
        "attention": spec.attention,
        "is_cached": spec.is_cached,
    }


def _count_name(spec: SubBlockSpec, config: Any) -> str:
    """The attribute of the family's configuration that counts the units of a sub-block."""
    if spec.kind == "ffn":
        return next(name for name in NEURONS if hasattr(config, name))
    if getattr(config, GROUPS, None) is not None:
        return GROUPS
    heads = str(config.attribute_map.get(HEADS, HEADS))
    return CROSS + heads if spec.memory is not None else heads


def _layer_counts(stack: Mapping[str, Any], structure: Structure) -> list[dict[str, int]]:
    """By layer: name of a count -> how many are left."""
    units = {s.name: s.num_units for s in structure.sub_blocks}
    blocks, path = stack["sub_blocks"], stack["layers"]
    num_layers = sum(name.startswith(f"{path}.") for name in units) // len(blocks)
    layers = []
    for i in range(num_layers):
        counts = {b["count"]: units[f"{path}.{i}.{b['name']}"] for b in blocks}
        if GROUPS in counts:
            counts[HEADS] = counts[GROUPS] * stack["queries_per_group"]
        layers.append(counts)
    return layers

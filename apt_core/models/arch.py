"""A family's layout bound to one model: `ModelMap` spells out every path of an `ArchSpec`."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import nn

from apt_core.models.spec import (
    ArchSpec,
    BypassSpec,
    HeadKind,
    HeadSpec,
    Kind,
    StackSpec,
    Stream,
    SubBlockSpec,
)
from apt_core.models.structure import Structure, SubBlock


class HeadGeometry(NamedTuple):
    """How a model's attention is cut into heads."""

    head_dim: int
    """Channels of one head."""
    queries_per_group: int = 1
    """Query heads that share a key/value head; they are pruned together."""


class Projection(NamedTuple):
    """A linear layer of a sub-block."""

    role: str
    """q_proj, k_proj, v_proj, o_proj, intermediate_dense, up_proj or output_dense."""
    path: str
    unit_width: int
    """Its rows (reader) or columns (writer) that belong to one unit."""


@dataclass(frozen=True)
class SubBlockMap:
    """One sub-block of one model; paths are relative to the task model."""

    name: str
    kind: Kind
    stack: int
    layer: int
    """Index of the layer inside its stack."""
    heads_per_unit: int
    readers: tuple[Projection, ...]
    writer: Projection
    residual_input: str
    bypass: tuple[BypassSpec, ...]
    norm: str | None
    extra: tuple[str, ...]
    position_bias: str | None
    attention: str
    is_cached: bool
    stream: Stream
    memory: Stream

    @property
    def projections(self) -> tuple[Projection, ...]:
        """All projections, readers first."""
        return (*self.readers, self.writer)

    @property
    def unit_width(self) -> int:
        """Channels of one unit in front of the writer."""
        return self.writer.unit_width


@dataclass(frozen=True)
class StackMap:
    """A pile of layers of one model."""

    layers: tuple[str, ...]
    stream: Stream
    final_norm: str | None


@dataclass(frozen=True)
class ModelMap:
    """An `ArchSpec` bound to a task model: every path spelled out."""

    spec: ArchSpec
    head_kind: HeadKind
    stacks: tuple[StackMap, ...]
    sub_blocks: tuple[SubBlockMap, ...]
    embeddings: tuple[str, ...]
    head_readers: tuple[str, ...]
    head: tuple[str, ...]
    """Modules that are trained in every arm."""
    outer_norms: tuple[str, ...]
    """Norms over the residual stream that belong to no sub-block."""

    def owner_of(self, site: str) -> str:
        """Name of the sub-block that a projection belongs to."""
        for sub_block in self.sub_blocks:
            if any(projection.path == site for projection in sub_block.projections):
                return sub_block.name
        raise KeyError(site)

    def sites(self, roles: frozenset[str]) -> tuple[str, ...]:
        """Paths of all projections that play one of these roles, in model order."""
        return tuple(p.path for s in self.sub_blocks for p in s.projections if p.role in roles)

    def norms(self) -> tuple[str, ...]:
        """Paths of all norms over the residual stream."""
        own = tuple(s.norm for s in self.sub_blocks if s.norm is not None)
        return (*self.outer_norms, *own)


def bind(spec: ArchSpec, model: nn.Module, head_kind: HeadKind, geometry: HeadGeometry) -> ModelMap:
    """Spell out every path of a family for one task model.

    Args:
        spec: the family.
        model: the task model; only the number of its layers is read.
        head_kind: what it predicts.
        geometry: how its attention is cut into heads.

    Returns:
        The map of this model.
    """
    head = spec.heads[head_kind]
    stacks = tuple(_bind_stack(stack, model, head) for stack in spec.stacks)
    sub_blocks = tuple(
        _bind_sub_block(sub_block, path, (number, i), stack.stream, geometry)
        for number, (stack, bound) in enumerate(zip(spec.stacks, stacks, strict=True))
        for i, path in enumerate(bound.layers)
        for sub_block in stack.sub_blocks
    )
    final = tuple(s.final_norm for s in stacks if s.final_norm is not None)
    return ModelMap(
        spec=spec,
        head_kind=head_kind,
        stacks=stacks,
        sub_blocks=sub_blocks,
        embeddings=tuple(head.inside(path) for path in spec.embeddings),
        head_readers=head.readers,
        head=head.trained,
        outer_norms=(*(head.inside(path) for path in spec.norms), *final),
    )


def _bind_stack(stack: StackSpec, model: nn.Module, head: HeadSpec) -> StackMap:
    layers = head.inside(stack.layers)
    num_layers = len(list(model.get_submodule(layers).children()))
    return StackMap(
        layers=tuple(f"{layers}.{i}" for i in range(num_layers)),
        stream=stack.stream,
        final_norm=None if stack.final_norm is None else head.inside(stack.final_norm),
    )


def _bind_sub_block(
    spec: SubBlockSpec,
    layer: str,
    place: tuple[int, int],
    stream: Stream,
    geometry: HeadGeometry,
) -> SubBlockMap:
    is_attention = spec.kind == "attention"
    group = geometry.queries_per_group if is_attention else 1
    narrow = geometry.head_dim if is_attention else 1

    def projection(role: str, path: str) -> Projection:
        # Keys and values of a group come from one head, queries and outputs from all of its heads.
        width = narrow if role in ("k_proj", "v_proj") else narrow * group
        return Projection(role, f"{layer}.{path}", width)

    return SubBlockMap(
        name=f"{layer}.{spec.name}",
        kind=spec.kind,
        stack=place[0],
        layer=place[1],
        heads_per_unit=group,
        readers=tuple(projection(*reader) for reader in spec.readers),
        writer=projection(*spec.writer),
        residual_input=f"{layer}.{spec.residual_input}",
        bypass=tuple(
            BypassSpec(f"{layer}.{b.path}", b.gives, b.input_position, b.num_outputs)
            for b in spec.bypass
        ),
        norm=None if spec.norm is None else f"{layer}.{spec.norm}",
        extra=tuple(f"{layer}.{path}" for path in spec.extra),
        position_bias=spec.position_bias,
        attention=f"{layer}.{spec.attention}" if spec.attention else "",
        is_cached=spec.is_cached,
        stream=stream,
        memory=spec.memory or stream,
    )


def read_structure(model: nn.Module, model_map: ModelMap) -> Structure:
    """The structure of an unpruned model, read off the shapes of its weights.

    Args:
        model: a task model whose projections have a ``weight`` of shape (out_features,
            in_features).
        model_map: its map.

    Returns:
        The structure, without adapters.
    """
    hidden_size = int(_weight_shape(model, model_map.sub_blocks[0].writer.path)[0])
    return Structure(
        hidden_size, tuple(_sub_block(model, s, model_map) for s in model_map.sub_blocks)
    )


def _sub_block(model: nn.Module, s: SubBlockMap, model_map: ModelMap) -> SubBlock:
    norm_params = 0
    if s.norm is not None:  # a LayerNorm has weight and bias, an RMSNorm a weight
        norm_params = 2 if model_map.spec.norm_kind == "layer" else 1
    extra = (p.numel() for path in s.extra for p in model.get_submodule(path).parameters())
    return SubBlock(
        name=s.name,
        kind=s.kind,
        num_units=_weight_shape(model, s.writer.path)[1] // s.unit_width,
        unit_width=s.unit_width,
        per_unit_per_dim=sum(p.unit_width for p in s.projections),
        per_unit=sum(p.unit_width for p in s.readers if _has_bias(model, p.path)),
        per_dim_if_alive=int(_has_bias(model, s.writer.path)) + norm_params,
        fixed_if_alive=sum(extra),
        heads_per_unit=s.heads_per_unit,
        stream=s.stream,
        memory=s.memory,
        sites={p.path: p.unit_width for p in s.projections},
    )


def _weight_shape(model: nn.Module, path: str) -> tuple[int, ...]:
    weight = model.get_submodule(path).weight
    assert isinstance(weight, nn.Parameter)
    return tuple(weight.shape)


def _has_bias(model: nn.Module, path: str) -> bool:
    return model.get_submodule(path).bias is not None

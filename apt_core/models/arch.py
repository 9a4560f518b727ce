"""Where a family keeps its parts, as data: `ArchSpec`; and the same bound to one model: `ModelMap`.

Every other module asks the map; none knows a family by name.
"""

from dataclasses import dataclass
from typing import Literal

from torch import nn

from apt_core.models.structure import Structure, SubBlock

Kind = Literal["attention", "ffn"]


@dataclass(frozen=True)
class BypassSpec:
    """What takes a module's place once its sub-block has no units left: one of its own inputs."""

    path: str
    input_position: int
    as_tuple: bool = False
    """The caller unpacks ``(hidden_states, attention_weights)``."""


@dataclass(frozen=True)
class SubBlockSpec:
    """One sub-block of a layer; paths are relative to the layer."""

    kind: Kind
    name: str
    readers: tuple[tuple[str, str], ...]
    """(role, path) of the projections that read the residual stream: q, k, v or up (and gate).
    Units are their rows.
    """
    writer: tuple[str, str]
    """(role, path) of the projection that writes to the residual stream: o or down. Units are its
    columns.
    """
    residual_input: str
    """Module whose first argument is the residual stream as this sub-block sees it."""
    bypass: tuple[BypassSpec, ...]
    norm: str | None = None
    """Norm applied to residual plus output (post-norm families); it goes with the sub-block."""


@dataclass(frozen=True)
class ArchSpec:
    """One family of transformers. Paths outside layers are relative to the task model."""

    layers: str
    """Path of the list of layers."""
    sub_blocks: tuple[SubBlockSpec, ...]
    embeddings: tuple[str, ...]
    """Embedding tables: a hidden dimension is one of their columns."""
    norms: tuple[str, ...]
    """Norms over the residual stream that belong to no sub-block."""
    head_readers: tuple[str, ...]
    """Linear layers of the task head that read the residual stream."""
    head: tuple[str, ...]
    """Modules of the task head: trained in every arm."""
    norm_params_per_dim: int = 2
    """LayerNorm: weight and bias."""
    uses_kurtosis: bool = False
    """Whether the outlier term of the salience is on unless the user says otherwise."""


@dataclass(frozen=True)
class SubBlockMap:
    """One sub-block of one model; paths are relative to the task model."""

    name: str
    kind: Kind
    layer: int
    unit_width: int
    readers: tuple[tuple[str, str], ...]
    writer: tuple[str, str]
    residual_input: str
    bypass: tuple[BypassSpec, ...]
    norm: str | None

    @property
    def projections(self) -> tuple[tuple[str, str], ...]:
        """All (role, path) pairs, readers first."""
        return (*self.readers, self.writer)


@dataclass(frozen=True)
class ModelMap:
    """An `ArchSpec` bound to a model: every path spelled out."""

    spec: ArchSpec
    layers: tuple[str, ...]
    sub_blocks: tuple[SubBlockMap, ...]

    def owner_of(self, site: str) -> str:
        """Name of the sub-block that a projection belongs to."""
        for sub_block in self.sub_blocks:
            if any(path == site for _, path in sub_block.projections):
                return sub_block.name
        raise KeyError(site)

    def sites(self, roles: frozenset[str]) -> tuple[str, ...]:
        """Paths of all projections that play one of these roles, in model order."""
        return tuple(path for s in self.sub_blocks for role, path in s.projections if role in roles)

    def norms(self) -> tuple[str, ...]:
        """Paths of all norms over the residual stream."""
        own = tuple(s.norm for s in self.sub_blocks if s.norm is not None)
        return (*self.spec.norms, *own)


def bind(spec: ArchSpec, model: nn.Module, *, head_dim: int) -> ModelMap:
    """Spell out every path of a family for one model.

    Args:
        spec: the family.
        model: the task model; only the number of its layers is read.
        head_dim: channels of one attention head.

    Returns:
        The map of this model.
    """
    layer_list = model.get_submodule(spec.layers)
    paths = tuple(f"{spec.layers}.{i}" for i in range(len(list(layer_list.children()))))
    sub_blocks = tuple(
        _bind_sub_block(sub_block, path, i, head_dim)
        for i, path in enumerate(paths)
        for sub_block in spec.sub_blocks
    )
    return ModelMap(spec, paths, sub_blocks)


def _bind_sub_block(spec: SubBlockSpec, layer: str, index: int, head_dim: int) -> SubBlockMap:
    return SubBlockMap(
        name=f"{layer}.{spec.name}",
        kind=spec.kind,
        layer=index,
        unit_width=head_dim if spec.kind == "attention" else 1,
        readers=tuple((role, f"{layer}.{path}") for role, path in spec.readers),
        writer=(spec.writer[0], f"{layer}.{spec.writer[1]}"),
        residual_input=f"{layer}.{spec.residual_input}",
        bypass=tuple(
            BypassSpec(f"{layer}.{b.path}", b.input_position, b.as_tuple) for b in spec.bypass
        ),
        norm=None if spec.norm is None else f"{layer}.{spec.norm}",
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
    hidden_size = int(_weight_shape(model, model_map.sub_blocks[0].writer[1])[0])
    return Structure(
        hidden_size, tuple(_sub_block(model, s, model_map) for s in model_map.sub_blocks)
    )


def _sub_block(model: nn.Module, s: SubBlockMap, model_map: ModelMap) -> SubBlock:
    num_biased_readers = sum(_has_bias(model, path) for _, path in s.readers)
    norm_params = model_map.spec.norm_params_per_dim if s.norm is not None else 0
    return SubBlock(
        name=s.name,
        kind=s.kind,
        num_units=_weight_shape(model, s.writer[1])[1] // s.unit_width,
        unit_width=s.unit_width,
        per_unit_per_dim=(len(s.readers) + 1) * s.unit_width,
        per_unit=num_biased_readers * s.unit_width,
        per_dim_if_alive=int(_has_bias(model, s.writer[1])) + norm_params,
    )


def _weight_shape(model: nn.Module, path: str) -> tuple[int, ...]:
    weight = model.get_submodule(path).weight
    assert isinstance(weight, nn.Parameter)
    return tuple(weight.shape)


def _has_bias(model: nn.Module, path: str) -> bool:
    return model.get_submodule(path).bias is not None

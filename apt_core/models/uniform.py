"""The format ``uniform``: every layer padded with zeros to one shape, for stock classes."""

import copy
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from apt_core.adapters.norm import MaskedRMSNorm
from apt_core.adapters.position_bias import table_path
from apt_core.errors import UnsupportedModelError
from apt_core.models.arch import ModelMap, Projection, SubBlockMap
from apt_core.models.export import Exported
from apt_core.models.export_hf import name_labels, save_model
from apt_core.models.loading import build_model, family_of, head_geometry
from apt_core.models.pruned_config import GROUPS, HEADS, NEURONS
from apt_core.models.uniform_shape import (
    UniformShape,
    free_width_shape,
    head_slots,
    tied_width_shape,
)

EPSILONS = ("rms_norm_eps", "layer_norm_epsilon")
"""What the families with an RMSNorm call its epsilon."""


def write_uniform(exported: Exported, folder: Path, *, labels: Sequence[str] = ()) -> None:
    """Write the model in a shape that its stock class can load; it gives the same logits.

    Args:
        exported: the merged, sliced model.
        folder: where to; made when missing.
        labels: names of the classes, where they have names.

    Raises:
        UnsupportedModelError: the family's configuration cannot say such a shape.
    """
    save_model(uniform_model(exported, labels), exported, folder)


@torch.no_grad()
def uniform_model(exported: Exported, labels: Sequence[str] = ()) -> nn.Module:
    """The stock model that computes what a pruned one does; arguments as of `write_uniform`."""
    slots, tables = _position_slots(exported)
    shape = _shape(exported, slots, tables)
    config = _uniform_config(exported, shape)
    name_labels(config, labels)
    with torch.random.fork_rng(devices=[]):
        loaded = build_model(config, exported.head_kind)
    for tensor in loaded.model.parameters():
        tensor.zero_()
    padder = _Padder(exported, loaded.model, loaded.model_map, shape, slots)
    padder.fill()
    for path, table in tables.items():
        whole: Any = loaded.model.get_submodule(path).weight
        whole[:, : table.shape[1]] = table
    return loaded.model.eval()


def _shape(
    exported: Exported, slots: Mapping[str, list[int]], tables: Mapping[str, Tensor]
) -> UniformShape:
    config, structure = exported.config, exported.structure
    spec, head_dim = family_of(config), head_geometry(config).head_dim
    if not spec.is_pre_norm:
        return tied_width_shape(structure, head_dim=head_dim, family=config.model_type)
    needed = None
    if tables:
        own = (s.num_units for s in structure.of_kind("attention") if s.name not in slots)
        needed = max(1, *own, *(table.shape[1] for table in tables.values()))
        if needed > config.num_attention_heads:
            raise UnsupportedModelError(
                f"--to uniform: stock {config.model_type!r} has one table of position biases for "
                "all layers, and here the layers' tables differ (they were trained apart); use "
                "--to hf"
            )
    # LLaMA's configuration insists on it, and so do programs that serve models like it.
    return free_width_shape(
        structure, head_dim=head_dim, num_units=needed, divisible=spec.is_decoder
    )


def _uniform_config(exported: Exported, shape: UniformShape) -> Any:
    config = copy.deepcopy(exported.config)
    group = head_geometry(config).queries_per_group
    if getattr(config, GROUPS, None) is not None:
        setattr(config, GROUPS, shape.num_units)
    setattr(config, HEADS, shape.num_units * group)
    setattr(config, next(name for name in NEURONS if hasattr(config, name)), shape.num_neurons)
    if "head_dim" not in config.attribute_map and family_of(config).is_decoder:
        config.head_dim = shape.head_dim
    config.hidden_size = shape.hidden_size
    for name in EPSILONS:  # the mean over padded dimensions is smaller, see `_scale_norms`
        if hasattr(config, name):
            kept = exported.structure.hidden_size / shape.hidden_size
            setattr(config, name, getattr(config, name) * kept)
    return config


def _position_slots(exported: Exported) -> tuple[dict[str, list[int]], dict[str, Tensor]]:
    """Places of the heads whose layers share a table, and the tables to put, by their path."""
    # Only the paths of this map are used, and they are the same for every shape.
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        model_map = build_model(exported.config, exported.head_kind).model_map
    slots: dict[str, list[int]] = {}
    tables: dict[str, Tensor] = {}
    alive = {s.name for s in exported.structure.sub_blocks if s.num_units > 0}
    for number in range(len(model_map.stacks)):
        blocks = [s for s in model_map.sub_blocks if s.stack == number and s.position_bias]
        paths = {s.name: table_path(s) for s in blocks}
        own = {n: p for n, p in paths.items() if p is not None}
        weights = {n: _weight(exported.model, p) for n, p in own.items() if n in alive}
        columns = [[c.numpy().tobytes() for c in w.T.contiguous()] for w in weights.values()]
        places, numbers = head_slots(columns)
        slots |= dict(zip(weights, numbers, strict=True))
        if places:
            by_content = {
                c.numpy().tobytes(): c for w in weights.values() for c in w.T.contiguous()
            }
            tables[next(iter(own.values()))] = torch.stack([by_content[p] for p in places], dim=1)
    return slots, tables


def _weight(model: nn.Module, path: str) -> Tensor:
    weight = model.get_submodule(path).weight
    assert isinstance(weight, Tensor)
    return weight.detach().cpu()


class _Padder:
    """Copies a pruned model into a zeroed stock model that is at least as large everywhere.

    Args:
        exported: the pruned model.
        target: the stock model, changed in place.
        model_map: where its parts are; the paths hold for both models.
        shape: its shape.
        slots: places of heads by sub-block; where none are given, heads keep their order.
    """

    def __init__(
        self,
        exported: Exported,
        target: nn.Module,
        model_map: ModelMap,
        shape: UniformShape,
        slots: Mapping[str, list[int]],
    ) -> None:
        self.source = exported.model
        self.config = exported.config
        self.dense_hidden = exported.config.hidden_size
        self.hidden = exported.structure.hidden_size
        self.units = {s.name: s.num_units for s in exported.structure.sub_blocks}
        self.head_dim = head_geometry(exported.config).head_dim
        self.target = target
        self.map = model_map
        self.shape = shape
        self.slots = slots

    def fill(self) -> None:
        """Copy everything."""
        projections = {p.path for s in self.map.sub_blocks for p in s.projections}
        there = self.target.state_dict()
        for name, value in self.source.state_dict().items():
            if name in there and name.rpartition(".")[0] not in projections:
                self._check_room(name, value, there[name])
                there[name][tuple(slice(size) for size in value.shape)] = value
        for sub_block in self.map.sub_blocks:
            if self.units[sub_block.name] > 0:
                self._place(sub_block)
        if self.map.spec.norm_kind == "rms":
            self._scale_norms()
        if not self.map.spec.is_pre_norm:
            self._hand_norms_over()

    def _check_room(self, name: str, value: Tensor, there: Tensor) -> None:
        if any(size > room for size, room in zip(value.shape, there.shape, strict=True)):
            raise UnsupportedModelError(
                f"--to uniform: {name} has shape {tuple(value.shape)}, and the configuration of "
                f"{self.config.model_type!r} ties it to the hidden size, which is {self.hidden} "
                "now: stock classes cannot hold this head once hidden dimensions are pruned. Use "
                f"--to hf, or train again with pruning.min_hidden={self.dense_hidden}"
            )

    def _place(self, sub_block: SubBlockMap) -> None:
        """Put every unit in its place; the others stay zero."""
        for reader in sub_block.readers:
            rows = self._channels(sub_block, reader)
            factor = 1.0
            if reader.role == "q_proj":  # attention divides by the root of a head's width
                factor = math.sqrt(self.shape.head_dim / self.head_dim)
            source, target = self._pair(reader.path)
            target.weight[rows, : self.hidden] = source.weight * factor
            if source.bias is not None:
                target.bias[rows] = source.bias * factor
        source, target = self._pair(sub_block.writer.path)
        target.weight[: self.hidden, self._channels(sub_block, sub_block.writer)] = source.weight
        if source.bias is not None:
            target.bias[: self.hidden] = source.bias

    def _channels(self, sub_block: SubBlockMap, projection: Projection) -> Tensor:
        """Where in the stock projection the channels of the units are."""
        count = self.units[sub_block.name]
        places = torch.tensor(self.slots.get(sub_block.name) or range(count)).unsqueeze(1)
        if sub_block.kind == "ffn":
            return places.flatten()
        per_unit = projection.unit_width // self.shape.head_dim  # this map is the stock model's
        heads = (places * per_unit + torch.arange(per_unit)).flatten().unsqueeze(1)
        return (heads * self.shape.head_dim + torch.arange(self.head_dim)).flatten()

    def _pair(self, path: str) -> tuple[Any, Any]:
        return self.source.get_submodule(path), self.target.get_submodule(path)

    def _scale_norms(self) -> None:
        """Let RMSNorms over padded dimensions give what they gave over the others.

        With k of d dimensions left, ``mean(x^2)`` over d is k / d of the mean over k; with
        ``eps * k / d`` and ``weight * sqrt(k / d)`` the norm is the same.
        """
        kept = math.sqrt(self.hidden / self.shape.hidden_size)
        grown = math.sqrt(self.shape.hidden_size / self.dense_hidden)
        last = self.map.stacks[-1].final_norm
        for path in self.map.norms():
            factor = kept
            if path == last and getattr(self.config, "scale_decoder_outputs", False):
                factor *= grown  # T5 divides by the root of the hidden size, which was another
            if path == last and self._scales_embeddings() and self.config.tie_word_embeddings:
                factor *= grown
            self._scale_norm(path, factor)
        if self._scales_embeddings():  # Gemma multiplies by that root
            for path in self.map.embeddings:
                self._pair(path)[1].weight.div_(grown)

    def _scales_embeddings(self) -> bool:
        return any(hasattr(m, "embed_scale") for m in self.target.modules())

    def _scale_norm(self, path: str, factor: float) -> None:
        try:
            norm = self.source.get_submodule(path)
        except AttributeError:  # it went with its sub-block, whose units are zero
            return
        if not hasattr(norm, "weight"):
            return
        weight = MaskedRMSNorm(norm).scaled_weight(torch.full((self.hidden,), factor))
        self._pair(path)[1].weight[: self.hidden] = weight

    def _hand_norms_over(self) -> None:
        """Let the norm of a sub-block without units change nothing.

        The stock layer normalises even where nothing was added. Its input comes from another norm:
        that one hands its weight and bias over and gives plain normalised values, which normalising
        again leaves as they are, up to epsilon.
        """
        before = self.target.get_submodule(self.map.outer_norms[0])
        for sub_block in self.map.sub_blocks:
            assert sub_block.norm is not None
            norm: Any = self.target.get_submodule(sub_block.norm)
            if self.units[sub_block.name] == 0:
                norm.weight.copy_(before.weight)
                norm.bias.copy_(before.bias)
                before.weight.fill_(1.0)  # type: ignore[operator]
                before.bias.zero_()  # type: ignore[operator]
            before = norm

"""Pruned exports of tiny models: layers that differ, one without heads, one without neurons."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, nn

from apt_core.adapters.merge import merge_adapters
from apt_core.evaluator.fresh_load import answer_of
from apt_core.models.calls import call_model
from apt_core.models.export import Exported, export_model, open_export
from apt_core.models.spec import HeadKind
from apt_core.models.structure import Structure
from apt_core.models.surgery_record import KeptBlocks
from apt_core.pruner.surgery import prune_model
from tests.tiny import tiny_batch, tiny_model


def uneven(structure: Structure, *, dead: tuple[int, ...], hidden: int) -> KeptBlocks:
    """Half of every sub-block, a unit more in every third; the sub-blocks `dead` are gone."""
    generator = torch.Generator().manual_seed(1)
    units = {}
    for i, s in enumerate(structure.sub_blocks):
        count = 0 if i in dead else min(s.num_units, max(1, s.num_units // 2) + (i % 3 == 1))
        units[s.name] = torch.randperm(s.num_units, generator=generator)[:count].sort().values
    return KeptBlocks(units, torch.randperm(16, generator=generator)[:hidden].sort().values)


def write_pruned(
    folder: Path,
    family: str,
    head_kind: HeadKind,
    *,
    dead: tuple[int, ...] = (0, 3, 7),
    hidden: int = 11,
    sizes: Mapping[str, int] = MappingProxyType({}),
) -> Exported:
    """Prune, merge and export a tiny model. ``dead``: layer 0 loses its heads, layer 1 its neurons.

    In T5, sub-block 7 is the cross attention of the decoder's first layer; encoders have none.
    """
    loaded, structure = tiny_model(family, head_kind=head_kind, sizes=sizes)
    kept = uneven(structure, dead=dead, hidden=hidden)
    after = prune_model(loaded.model, loaded.model_map, structure, kept).structure_after
    model = merge_adapters(loaded.model).eval()
    export_model(model, loaded.config, after, folder, head_kind=head_kind)
    return open_export(folder)


@torch.no_grad()
def answers(model: nn.Module, head_kind: HeadKind) -> Tensor:
    """Logits of the tiny batch."""
    tensor = answer_of(call_model(model, head_kind, tiny_batch(head_kind=head_kind)))
    assert isinstance(tensor, Tensor)
    return tensor


def inputs(head_kind: HeadKind) -> dict[str, Tensor]:
    """What a forward pass for prediction takes."""
    batch = tiny_batch(labels=False)
    if head_kind == "seq2seq_lm":
        batch["decoder_input_ids"] = torch.randint(2, 50, (4, 5))
    return batch

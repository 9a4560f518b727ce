"""Give a fresh model the shape of a known structure: structure first, weights afterwards."""

import torch
from torch import nn

from apt_core.adapters.linear import APTLinear
from apt_core.models.arch import ModelMap
from apt_core.models.structure import Structure
from apt_core.models.surgery_record import KeptBlocks
from apt_core.pruner.surgery import prune_model


def reshape_model(
    model: nn.Module, model_map: ModelMap, present: Structure, wanted: Structure
) -> None:
    """Cut and grow a model with adapters to a structure, in place; the values do not matter.

    Args:
        model: a task model with injected adapters of the structure `present`.
        model_map: where its parts are.
        present: its structure.
        wanted: the structure to reach; nowhere larger than `present`, ranks may be.
    """
    units = {s.name: torch.arange(s.num_units) for s in wanted.sub_blocks}
    kept = KeptBlocks(units, torch.arange(wanted.hidden_size))
    prune_model(model, model_map, present, kept)
    for site, rank in wanted.ranks.items():
        layer = model.get_submodule(site)
        assert isinstance(layer, APTLinear)
        if layer.rank != rank:
            layer.set_branch(
                layer.weight.new_zeros(rank, layer.in_features),
                layer.weight.new_zeros(layer.out_features, rank),
            )

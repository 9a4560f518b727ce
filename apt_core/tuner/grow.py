"""Grow the rank of adapters in place without changing what the model computes."""

import math
from collections.abc import Mapping

import torch
from torch import nn

from apt_core.adapters.linear import APTLinear
from apt_core.models.structure import Structure
from apt_core.models.surgery_record import Surgery, TensorEdit


def grow_adapters(
    model: nn.Module,
    structure: Structure,
    ranks: Mapping[str, int],
    *,
    init_std: float | None,
    seed: int,
    prefix: str = "",
) -> Surgery:
    """Give adapters more rank: Gaussian rows for W_A, zero columns for W_B (paper section 4.3).

    The zero columns leave every output unchanged at the instant of growth. The random rows depend
    on the seed and the site only, so that all workers draw the same.

    Args:
        model: a task model with adapters, its parameters full, changed in place.
        structure: its present structure.
        ranks: site -> rank afterwards; smaller or equal ranks are left alone.
        init_std: standard deviation of the new rows; None: 1 / sqrt(3 * in_features).
        seed: seed of the new rows.
        prefix: put before every parameter name in the record.

    Returns:
        The record.
    """
    edits: dict[str, TensorEdit] = {}
    changes: dict[str, tuple[int, int]] = {}
    for position, (site, before) in enumerate(structure.ranks.items()):
        after = ranks.get(site, before)
        if after <= before:
            continue
        layer = model.get_submodule(site)
        assert isinstance(layer, APTLinear)
        _grow(layer, after, init_std=init_std, seed=seed * 100_003 + position)
        edits[f"{prefix}{site}.lora_a"] = TensorEdit(pad=((0, after),))
        edits[f"{prefix}{site}.lora_b"] = TensorEdit(pad=((1, after),))
        changes[site] = (before, after)
    return Surgery(
        structure_before=structure,
        structure_after=structure.with_ranks({**structure.ranks, **ranks}),
        edits=edits,
        rank_changes=changes,
    )


@torch.no_grad()
def _grow(layer: APTLinear, rank: int, *, init_std: float | None, seed: int) -> None:
    num_new = rank - layer.rank
    std = 1.0 / math.sqrt(3 * layer.in_features) if init_std is None else init_std
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(num_new, layer.in_features, generator=generator) * std
    columns = layer.lora_b.new_zeros(layer.out_features, num_new)
    layer.set_branch(
        torch.cat([layer.lora_a, rows.to(layer.lora_a)]), torch.cat([layer.lora_b, columns], dim=1)
    )

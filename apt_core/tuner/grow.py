"""Grow the rank of adapters in place without changing what the model computes."""

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from apt_core.adapters.linear import APTLinear
from apt_core.models.structure import Structure
from apt_core.models.surgery_record import Surgery, TensorEdit

Distribution = Literal["gaussian", "uniform"]


def grow_adapters(
    model: nn.Module,
    structure: Structure,
    ranks: Mapping[str, int],
    *,
    init_std: float | None,
    seed: int,
    distribution: Distribution = "gaussian",
    prefix: str = "",
) -> Surgery:
    """Give adapters more rank: random rows for W_A, zero columns for W_B (paper section 4.3).

    The zero columns leave every output unchanged at the instant of growth. The random rows depend
    on the seed and the site only, so that all workers draw the same.

    Args:
        model: a task model with adapters, its parameters full, changed in place.
        structure: its present structure.
        ranks: site -> rank afterwards; smaller or equal ranks are left alone.
        init_std: standard deviation of the new rows; None: 1 / sqrt(3 * in_features).
        seed: seed of the new rows.
        distribution: of the new rows: ``gaussian`` (the paper), or ``uniform`` (the authors' code)
            in ``[-sqrt(3) * std, sqrt(3) * std)``.
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
        std = 1.0 / math.sqrt(3 * layer.in_features) if init_std is None else init_std
        generator = torch.Generator().manual_seed(seed * 100_003 + position)
        shape = (after - layer.rank, layer.in_features)
        _grow(layer, std * _standard_rows(shape, distribution, generator))
        edits[f"{prefix}{site}.lora_a"] = TensorEdit(pad=((0, after),))
        edits[f"{prefix}{site}.lora_b"] = TensorEdit(pad=((1, after),))
        changes[site] = (before, after)
    return Surgery(
        structure_before=structure,
        structure_after=structure.with_ranks({**structure.ranks, **ranks}),
        edits=edits,
        rank_changes=changes,
    )


def _standard_rows(
    shape: tuple[int, int], distribution: Distribution, generator: torch.Generator
) -> Tensor:
    """Random rows of mean 0 and standard deviation 1."""
    if distribution == "gaussian":
        return torch.randn(shape, generator=generator)
    return (2 * torch.rand(shape, generator=generator) - 1) * math.sqrt(3)


@torch.no_grad()
def _grow(layer: APTLinear, rows: Tensor) -> None:
    columns = layer.lora_b.new_zeros(layer.out_features, len(rows))
    layer.set_branch(
        torch.cat([layer.lora_a, rows.to(layer.lora_a)]), torch.cat([layer.lora_b, columns], dim=1)
    )

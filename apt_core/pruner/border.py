"""What a choice of blocks turned on: who stood next to the border, and where all stood (PURE)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from apt_core.models.structure import Structure
from apt_core.models.surgery_record import KeptBlocks
from apt_core.pruner.cost import PARAMS, CostModel
from apt_core.pruner.search import BlockSalience, block_densities
from apt_core.report import SALIENCE_QUANTILES

HIDDEN = "hidden"
NUM_NAMED = 3
"""Blocks that are told by name on each side of the border, of every kind."""
SIGNIFICANT_DIGITS = 6


def describe_border(
    structure: Structure,
    salience: BlockSalience,
    kept: KeptBlocks,
    *,
    cost: CostModel = PARAMS,
) -> Mapping[str, Any]:
    """The evidence behind a choice of blocks, by kind: ``head``, ``neuron``, ``hidden_dim``.

    Blocks are ranked by salience density ``rho(b) = S(b) / C(b)`` [paper section 4.2], so that is
    what the border lies in. Where floors or aligned widths decide too, a kept block may stand below
    a cut one.

    Args:
        structure: What the model had before the cut.
        salience: One value for each of its blocks.
        kept: Which of them stay.
        cost: What the budget counts.

    Returns:
        JSON-able. Of each kind: how many there were and stay, the quantiles of rho over all (at
        `SALIENCE_QUANTILES`), and the least dense kept and the densest cut blocks, nearest to the
        border first, each with sub-block, index before the cut, salience and rho.
    """
    density = block_densities(structure, salience, cost)
    sizes = [*(s.num_units for s in structure.sub_blocks), structure.hidden_size]
    by_group = torch.split(density, sizes)
    groups: dict[str, list[tuple[str, Tensor, Tensor, Tensor]]] = {
        "head": [],
        "neuron": [],
        "hidden_dim": [(HIDDEN, by_group[-1], salience.hidden, kept.hidden)],
    }
    for sub_block, rho in zip(structure.sub_blocks, by_group, strict=False):
        if sub_block.num_units:
            name, kind = sub_block.name, "head" if sub_block.kind == "attention" else "neuron"
            groups[kind].append((name, rho, salience.units[name], kept.units[name]))
    return {kind: _describe(members) for kind, members in groups.items() if members}


def _describe(groups: list[tuple[str, Tensor, Tensor, Tensor]]) -> dict[str, Any]:
    """One kind of block, from (name, density, salience, kept indices) of its groups."""
    rho = torch.cat([density for _, density, _, _ in groups])
    values = torch.cat([salience.detach().cpu() for _, _, salience, _ in groups])
    places = [(name, i) for name, density, _, _ in groups for i in range(len(density))]
    stays = torch.cat([_mask(kept, len(density)) for _, density, _, kept in groups])
    order = torch.argsort(rho, descending=True, stable=True)
    last_kept = order[stays[order]].flip(0)[:NUM_NAMED].tolist()
    first_cut = order[~stays[order]][:NUM_NAMED].tolist()

    def block(index: int) -> dict[str, Any]:
        group, position = places[index]
        return {
            "group": group,
            "index": position,
            "salience": _rounded(float(values[index])),
            "density": _rounded(float(rho[index])),
        }

    return {
        "num": len(rho),
        "num_kept": int(stays.sum()),
        "quantiles": [_rounded(q) for q in _quantiles(rho)],
        "last_kept": [block(i) for i in last_kept],
        "first_cut": [block(i) for i in first_cut],
    }


def _mask(kept: Tensor, size: int) -> Tensor:
    mask = torch.zeros(size, dtype=torch.bool)
    mask[kept.cpu()] = True
    return mask


def _quantiles(values: Tensor) -> list[float]:
    """`SALIENCE_QUANTILES` with linear interpolation; `torch.quantile` refuses very many values."""
    ordered = values.sort().values
    places = [q * (len(ordered) - 1) for q in SALIENCE_QUANTILES]
    low = [int(place) for place in places]
    high = [min(i + 1, len(ordered) - 1) for i in low]
    return [
        float(ordered[a]) + (place - a) * float(ordered[b] - ordered[a])
        for place, a, b in zip(places, low, high, strict=True)
    ]


def _rounded(value: float) -> float:
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")

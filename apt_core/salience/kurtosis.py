"""The outlier term of the salience: sqrt(kurtosis) of the products that a block contributes."""

from collections.abc import Mapping

import torch
from torch import Tensor

from apt_core.models.structure import Structure, SubBlock
from apt_core.pruner.search import BlockSalience
from apt_core.salience import scores


def add_outlier_term(
    blocks: BlockSalience,
    mean_activations: Mapping[str, Tensor],
    writer_weights: Mapping[str, Tensor],
    *,
    structure: Structure,
    weight: float,
) -> BlockSalience:
    """Add the outlier term to the salience of every block (paper Eq. 5, normalised).

    ``S^ = S~ + weight * mean(S~) * sqrt(max(Kurt, 0))``, see `scores.outlier_aware`. The mean is
    that of the block's family: all heads of the model, all its neurons, or all hidden dimensions.
    Within a family the term therefore moves no block for the sub-block it is in. A hidden dimension
    has one kurtosis for every sub-block that writes to it, and their roots add up.

    Args:
        blocks: salience from activations and gradients.
        mean_activations: sub-block -> mean signed input of its writing projection, (channels,).
            A sub-block that is absent has no outlier term.
        writer_weights: sub-block -> that projection's weight, (hidden, channels).
        structure: the present structure.
        weight: coefficient of the term.

    Returns:
        The outlier-aware salience, in units of the salience that was given.
    """
    units: dict[str, Tensor] = dict(blocks.units)
    for kind in ("attention", "ffn"):
        family = [s for s in structure.sub_blocks if s.kind == kind]
        if not family:
            continue
        kurtosis = [_unit_kurtosis(s, blocks, mean_activations, writer_weights) for s in family]
        salience = torch.cat([blocks.units[s.name] for s in family])
        raised = scores.outlier_aware(salience, torch.cat(kurtosis), weight)
        parts = raised.split([s.num_units for s in family])
        units |= {s.name: part for s, part in zip(family, parts, strict=True)}
    sources = [
        scores.hidden_kurtosis(writer_weights[name], mean)
        for name, mean in mean_activations.items()
    ]
    if not sources:
        return BlockSalience(units=units, hidden=blocks.hidden)
    hidden = scores.outlier_aware(blocks.hidden, torch.stack(sources), weight)
    return BlockSalience(units=units, hidden=hidden)


def _unit_kurtosis(
    sub_block: SubBlock,
    blocks: BlockSalience,
    mean_activations: Mapping[str, Tensor],
    writer_weights: Mapping[str, Tensor],
) -> Tensor:
    """Kurtosis of a sub-block's heads or neurons; 0 where nothing was measured."""
    mean = mean_activations.get(sub_block.name)
    if mean is None:
        return torch.zeros_like(blocks.units[sub_block.name])
    matrix = writer_weights[sub_block.name]
    if sub_block.kind == "attention":
        return scores.head_kurtosis(matrix, mean, sub_block.num_units)
    return scores.neuron_kurtosis(matrix, mean)

"""The outlier term of the salience: sqrt(kurtosis) of the products that a block contributes."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from apt_core.models.structure import Structure, SubBlock
from apt_core.pruner.search import BlockSalience
from apt_core.salience import scores


def add_outlier_term(
    blocks: BlockSalience,
    mean_activations: Mapping[str, Tensor],
    writer_weight: Callable[[str], Tensor],
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
        writer_weight: gives the weight of a sub-block's writing projection, (hidden, channels);
            called once for every sub-block with a mean, in their order.
        structure: the present structure.
        weight: coefficient of the term.

    Returns:
        The outlier-aware salience, in units of the salience that was given.
    """
    of_units, of_hidden = _kurtoses(mean_activations, writer_weight, structure)
    units: dict[str, Tensor] = dict(blocks.units)
    for kind in ("attention", "ffn"):
        family = [s for s in structure.sub_blocks if s.kind == kind]
        if not family:
            continue
        # 0 where nothing was measured.
        kurtosis = [of_units.get(s.name, torch.zeros_like(blocks.units[s.name])) for s in family]
        salience = torch.cat([blocks.units[s.name] for s in family])
        raised = scores.outlier_aware(salience, torch.cat(kurtosis), weight)
        parts = raised.split([s.num_units for s in family])
        units |= {s.name: part for s, part in zip(family, parts, strict=True)}
    if not of_hidden:
        return BlockSalience(units=units, hidden=blocks.hidden)
    hidden = scores.outlier_aware(blocks.hidden, torch.stack(of_hidden), weight)
    return BlockSalience(units=units, hidden=hidden)


def _kurtoses(
    mean_activations: Mapping[str, Tensor],
    writer_weight: Callable[[str], Tensor],
    structure: Structure,
) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Of every measured sub-block's units, and of what it adds to each hidden dimension."""
    sub_blocks = {s.name: s for s in structure.sub_blocks}
    found = {
        # No name is bound to the weight: it is gone before the next one is made.
        name: _kurtosis_of(sub_blocks[name], writer_weight(name), mean)
        for name, mean in mean_activations.items()
    }
    return {name: units for name, (units, _) in found.items()}, [h for _, h in found.values()]


def _kurtosis_of(sub_block: SubBlock, matrix: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    if sub_block.kind == "attention":
        units = scores.head_kurtosis(matrix, mean, sub_block.num_units)
    else:
        units = scores.neuron_kurtosis(matrix, mean)
    return units, scores.hidden_kurtosis(matrix, mean)

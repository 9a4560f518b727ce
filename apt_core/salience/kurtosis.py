"""The outlier term of the salience: sqrt(kurtosis) of the products that a block contributes."""

from collections.abc import Mapping

from torch import Tensor

from apt_core.models.structure import Structure
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
    """Add ``weight * sqrt(max(Kurt, 0))`` to the salience of every block (paper Eq. 5).

    Args:
        blocks: salience from activations and gradients.
        mean_activations: sub-block -> mean signed input of its writing projection, (channels,).
        writer_weights: sub-block -> that projection's weight, (hidden, channels).
        structure: the present structure.
        weight: coefficient of the term.

    Returns:
        The outlier-aware salience. The first term is normalised to mean 1 per family before the
        sum, since kurtosis has no unit and gradients do: otherwise the batch size would decide.
    """
    units: dict[str, Tensor] = dict(blocks.units)
    hidden_roots: Tensor | None = None
    for sub_block in structure.sub_blocks:
        if sub_block.name not in mean_activations:
            continue
        mean, matrix = mean_activations[sub_block.name], writer_weights[sub_block.name].float()
        if sub_block.kind == "attention":
            kurtosis = scores.head_kurtosis(matrix, mean, sub_block.num_units)
        else:
            kurtosis = scores.neuron_kurtosis(matrix, mean)
        name = sub_block.name
        units[name] = scores.outlier_aware(units[name], kurtosis, weight)
        roots = scores.hidden_kurtosis(matrix, mean).clamp(min=0.0).sqrt()
        hidden_roots = roots if hidden_roots is None else hidden_roots + roots
    if hidden_roots is None:
        return blocks
    # outlier_aware takes the root itself: hand it the square of the summed roots.
    hidden = scores.outlier_aware(blocks.hidden, hidden_roots.square(), weight)
    return BlockSalience(units=units, hidden=hidden)

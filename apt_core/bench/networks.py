"""From a module to what is counted of it."""

from torch import nn

from apt_core.bench.flops import HeadLayer, Network, Rows
from apt_core.models.spec import HeadKind
from apt_core.models.structure import Structure


def network_of(
    model: nn.Module, structure: Structure, head_kind: HeadKind, rows: Rows, *, all_learn: bool
) -> Network:
    """What of a task model is counted.

    Args:
        model: a plain task model with injected adapters: what is a stock linear layer in it stands
            outside the layers.
        structure: its present structure.
        head_kind: what it predicts.
        rows: what it works on.
        all_learn: whether every weight of the layers learns.

    Returns:
        The network.
    """
    return Network(structure, head_layers(model, head_kind, rows), all_learn)


def head_layers(model: nn.Module, head_kind: HeadKind, rows: Rows) -> tuple[HeadLayer, ...]:
    """The matrices outside the layers.

    Args:
        model: a plain task model with injected adapters.
        head_kind: a class reads one token of a row, everything else reads all of them.
        rows: what it works on.

    Returns:
        One value per stock linear layer.
    """
    tokens = rows.of("target" if head_kind == "seq2seq_lm" else "source")
    if head_kind == "sequence_classification":
        tokens = 1
    return tuple(
        HeadLayer(layer.weight.numel(), tokens, layer.weight.requires_grad)
        for layer in model.modules()
        if isinstance(layer, nn.Linear)
    )

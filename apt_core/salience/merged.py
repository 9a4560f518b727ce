"""Weights as the model will be served: adapters folded in."""

from collections.abc import Callable

from torch import Tensor, nn

from apt_core.adapters.linear import APTLinear

ReadParameters = Callable[[list[str]], dict[str, Tensor]]


def merged_weight(
    model: nn.Module, path: str, prefix: str, full_parameters: ReadParameters
) -> Tensor:
    """W + s W_B W_A of one projection, in fp32.

    One at a time: all writers of a large model in fp32 are twice the model in half precision.

    Args:
        model: the student; an engine may hold its parameters in pieces.
        path: where the projection is.
        prefix: what stands before the student's parameter names in the engine's module.
        full_parameters: reads parameters of the engine's module by name.

    Returns:
        The weight, (out_features, in_features).
    """
    layer = model.get_submodule(path)
    assert isinstance(layer, APTLinear)
    leaves = ("weight", "lora_a", "lora_b") if layer.rank > 0 else ("weight",)
    named = full_parameters([f"{prefix}{path}.{leaf}" for leaf in leaves])
    weight, *branch = (named[f"{prefix}{path}.{leaf}"].float() for leaf in leaves)
    if not branch:
        return weight
    lora_a, lora_b = branch
    return weight + layer.scaling * (lora_b @ lora_a)

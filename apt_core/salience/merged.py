"""Weights as the model will be served: adapters folded in."""

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from apt_core.adapters.linear import APTLinear

ReadParameters = Callable[[list[str]], dict[str, Tensor]]


def merged_weights(
    model: nn.Module, projections: Mapping[str, str], prefix: str, full_parameters: ReadParameters
) -> dict[str, Tensor]:
    """W + s W_B W_A of some projections, in fp32.

    Args:
        model: the student; an engine may hold its parameters in pieces.
        projections: key -> path of a projection.
        prefix: what stands before the student's parameter names in the engine's module.
        full_parameters: reads parameters of the engine's module by name.

    Returns:
        Key -> weight.
    """
    layers = {path: _layer(model, path) for path in projections.values()}
    leaves = [
        f"{path}.{leaf}"
        for path, layer in layers.items()
        for leaf in (("weight", "lora_a", "lora_b") if layer.rank > 0 else ("weight",))
    ]
    named = full_parameters([f"{prefix}{leaf}" for leaf in leaves])
    values = {leaf: named[f"{prefix}{leaf}"].float() for leaf in leaves}
    return {name: _merged(values, path, layers[path]) for name, path in projections.items()}


def _merged(values: Mapping[str, Tensor], path: str, layer: APTLinear) -> Tensor:
    weight = values[f"{path}.weight"]
    if layer.rank == 0:
        return weight
    return weight + layer.scaling * (values[f"{path}.lora_b"] @ values[f"{path}.lora_a"])


def _layer(model: nn.Module, path: str) -> APTLinear:
    layer = model.get_submodule(path)
    assert isinstance(layer, APTLinear)
    return layer

"""Put APT layers into a pretrained model, in place."""

from collections.abc import Mapping

from torch import nn

from apt_core.adapters.linear import APTLinear
from apt_core.adapters.norm import MaskedLayerNorm, MaskedRMSNorm
from apt_core.adapters.position_bias import own_position_biases
from apt_core.models.arch import ModelMap
from apt_core.models.modules import set_submodule


def freeze_all_but(model: nn.Module, trainable: tuple[str, ...]) -> None:
    """Freeze every parameter except those of the named modules.

    Args:
        model: the task model.
        trainable: module paths, typically the task head.
    """
    model.requires_grad_(False)
    for path in trainable:
        model.get_submodule(path).requires_grad_(True)


def inject_adapters(
    model: nn.Module, model_map: ModelMap, *, ranks: Mapping[str, int], scaling: float
) -> None:
    """Replace every projection by an `APTLinear` and every residual norm by a masked one.

    The model's output is unchanged. Weights are shared with the layers that are replaced, not
    copied.

    Args:
        model: the task model, changed in place.
        model_map: where its parts are.
        ranks: adapter site -> rank; projections that are absent get masks only.
        scaling: factor s of the tuning branch.
    """
    for sub_block in model_map.sub_blocks:
        for projection in sub_block.projections:
            linear = model.get_submodule(projection.path)
            assert isinstance(linear, nn.Linear)
            weight, bias = linear.weight, linear.bias
            assert isinstance(weight, nn.Parameter)
            rank = ranks.get(projection.path, 0)
            set_submodule(
                model, projection.path, APTLinear(weight, bias, rank=rank, scaling=scaling)
            )
    for path in model_map.norms():
        set_submodule(model, path, _masked(model.get_submodule(path)))
    own_position_biases(model, model_map)


def _masked(norm: nn.Module) -> nn.Module:
    return MaskedLayerNorm(norm) if isinstance(norm, nn.LayerNorm) else MaskedRMSNorm(norm)

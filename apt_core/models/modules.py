"""Small tools on `nn.Module` trees."""

from typing import Any

from torch import nn


def set_submodule(model: nn.Module, path: str, module: nn.Module) -> None:
    """Put a module at a dotted path, in the train/eval mode of the one that it replaces.

    Args:
        model: the tree, changed in place.
        path: dotted path of an existing module.
        module: what takes its place.
    """
    parent_path, _, name = path.rpartition(".")
    parent = model.get_submodule(parent_path)
    module.train(getattr(parent, name).training)
    setattr(parent, name, module)


def find_submodule(model: nn.Module, path: str) -> nn.Module | None:
    """The module at a path, or None where the sub-block that it belonged to is gone.

    Args:
        model: the tree.
        path: dotted path.

    Returns:
        The module.
    """
    try:
        return model.get_submodule(path)
    except AttributeError:
        return None


def checkpoint_activations(model: Any) -> None:
    """Recompute every layer in the backward pass instead of keeping its activations.

    transformers then also lets gradients flow into the embeddings' output, which the reentrant kind
    of checkpointing needs. Ours does not, and with frozen embeddings those gradients are waste and
    would be counted as salience: checkpointing must not change a result.

    Args:
        model: a transformers model, changed in place.
    """
    model.activation_checkpointing_enable({"use_reentrant": False})
    model.disable_input_require_grads()

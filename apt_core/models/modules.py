"""Small tools on `nn.Module` trees."""

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

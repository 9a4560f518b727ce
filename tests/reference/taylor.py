"""Taylor importance the slow way: loop over every weight of a unit; and by removing weights."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from apt_core.models.arch import SubBlockMap

Entry = tuple[nn.Parameter, tuple[int, ...]]


def entries_of(model: nn.Module, sub_block: SubBlockMap, unit: int) -> Iterator[Entry]:
    """Every weight that goes with a unit: rows of readers, their biases, columns of the writer."""
    for reader in sub_block.readers:
        layer: Any = model.get_submodule(reader.path)
        for row in range(unit * reader.unit_width, (unit + 1) * reader.unit_width):
            for column in range(layer.weight.shape[1]):
                yield layer.weight, (row, column)
            if layer.bias is not None:
                yield layer.bias, (row,)
    layer, width = model.get_submodule(sub_block.writer.path), sub_block.writer.unit_width
    for column in range(unit * width, (unit + 1) * width):
        for row in range(layer.weight.shape[0]):
            yield layer.weight, (row, column)


def unit_importance(
    model: nn.Module, sub_block: SubBlockMap, unit: int, gradients: dict[nn.Parameter, Tensor]
) -> float:
    """Sum of |w * dL/dw| in float64."""
    return sum(
        abs(float(parameter[place].double()) * float(gradients[parameter][place].double()))
        for parameter, place in entries_of(model, sub_block, unit)
    )


@torch.no_grad()
def removed_one_by_one(entries: Iterator[Entry], loss: Callable[[], float]) -> float:
    """Sum of the loss's changes, each by setting one weight to 0."""
    dense = loss()
    total = 0.0
    for parameter, place in entries:
        value = parameter[place].clone()
        parameter[place] = 0.0
        total += abs(loss() - dense)
        parameter[place] = value
    return total


@torch.no_grad()
def removed_unit(model: nn.Module, sub_block: SubBlockMap, unit: int, loss: Callable[[], float]):
    """Change of the loss when a unit adds nothing to the residual stream any more."""
    layer, width = model.get_submodule(sub_block.writer.path), sub_block.writer.unit_width
    columns = slice(unit * width, (unit + 1) * width)
    dense, values = loss(), layer.weight[:, columns].clone()
    layer.weight[:, columns] = 0.0
    change = loss() - dense
    layer.weight[:, columns] = values
    return change

"""A dataclass goes in, a dict is seen in between, a dataclass comes out."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from apt_core.trainer.dataclass_output import DataclassOutput


@dataclass(frozen=True)
class Output:
    loss: Tensor
    note: str


class Module(nn.Module):
    def forward(self, value: Any) -> Any:
        return value


def test_hooks_registered_later_see_a_dict_and_the_caller_gets_the_dataclass() -> None:
    module = Module()
    adapter = DataclassOutput(module)
    seen: list[Any] = []

    def double(_: nn.Module, inputs: Any, output: Any) -> Any:
        seen.append(output)
        return output | {"loss": output["loss"] * 2}

    module.register_forward_hook(double)
    with adapter.unpacked() as restore:
        output = restore(module(Output(torch.ones(1), "kept")))
    assert isinstance(seen[0], dict)
    assert isinstance(output, Output)
    assert output.note == "kept"
    assert output.loss.item() == 2.0


def test_other_outputs_and_calls_outside_pass_unchanged() -> None:
    module = Module()
    adapter = DataclassOutput(module)
    output = Output(torch.ones(1), "")
    assert module(output) is output
    with adapter.unpacked() as restore:
        assert restore(module({"loss": 1})) == {"loss": 1}
        assert restore(module(3)) == 3
    adapter.remove()
    assert not module._forward_hooks

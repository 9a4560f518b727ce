"""Handing a module over to ZeRO and taking it back."""

import torch
from torch import nn

from apt_core.trainer.zero_module import MODULE_MARKS, EmptyParameters, replace_parameters


def test_empty_parameters_are_hidden_but_still_found_and_come_back_in_order() -> None:
    module = nn.Linear(3, 2)
    module.weight = nn.Parameter(torch.empty(0, 3))
    module.bias = nn.Parameter(torch.ones(2))
    names = [name for name, _ in module.named_parameters()]
    empty = EmptyParameters(module, torch.bfloat16)
    assert [name for name, _ in module.named_parameters()] == ["bias"]
    assert module.state_dict().keys() == {"weight", "bias"}
    assert module.get_parameter("weight").dtype is torch.bfloat16
    empty.restore()
    assert [name for name, _ in module.named_parameters()] == names
    assert not list(module.buffers())


def test_replaced_parameters_stay_shared_and_keep_their_kind() -> None:
    module = nn.ModuleDict({"a": nn.Linear(2, 2, bias=False), "b": nn.Linear(2, 2)})
    module["b"].weight = module["a"].weight
    module["b"].bias.requires_grad_(False)
    old = {name: parameter for name, parameter in module.named_parameters()}
    replace_parameters(module, {id(p): p.detach() * 2 for p in old.values()})
    assert module["a"].weight is module["b"].weight
    assert module["a"].weight is not old["a.weight"]
    assert torch.equal(module.get_parameter("a.weight"), old["a.weight"] * 2)
    assert module["a"].weight.requires_grad
    assert not module["b"].bias.requires_grad


def test_marks_on_modules_and_closures_on_old_parameters_are_removed() -> None:
    module = nn.Linear(2, 2)
    clean = set(module.__dict__)
    for mark in MODULE_MARKS:
        setattr(module, mark, "left by the engine")
    old = module.weight
    old.all_gather = lambda: old
    replace_parameters(module, {id(p): p.detach() for p in module.parameters()})
    assert set(module.__dict__) == clean
    assert not old.__dict__

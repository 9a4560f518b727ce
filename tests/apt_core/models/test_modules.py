import torch
from torch import nn

from apt_core.models.modules import find_submodule, set_submodule


def test_a_module_is_replaced_wherever_it_sits() -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.Linear(2, 2))
    tanh, sigmoid = nn.Tanh(), nn.Sigmoid()
    set_submodule(model, "0.1", tanh)
    set_submodule(model, "1", sigmoid)
    assert model[0][1] is tanh
    assert model[1] is sigmoid
    assert torch.equal(model(torch.ones(1, 2)), sigmoid(tanh(model[0][0](torch.ones(1, 2)))))


def test_the_new_module_takes_over_the_mode_of_the_old_one() -> None:
    model = nn.Sequential(nn.Dropout(), nn.Dropout())
    model[0].eval()
    set_submodule(model, "0", nn.Sequential(nn.Dropout()))
    set_submodule(model, "1", nn.Sequential(nn.Dropout()).eval())
    assert not model[0].training
    assert not model[0][0].training
    assert model[1][0].training


def test_a_module_that_is_gone_is_not_found() -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(2, 2)))
    assert find_submodule(model, "0.0") is model[0][0]
    assert find_submodule(model, "0.1") is None
    assert find_submodule(model, "0.0.weight.deeper") is None

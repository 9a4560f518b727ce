"""Every operator has one kind, what a teacher does is the teacher's, and nothing is lost."""

import time

import pytest
import torch
from torch import nn

from apt_core.bench.profiling import KINDS, break_down, kind_of_operator

CPU = torch.device("cpu")
X = torch.randn(64, 256)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("aten::addmm", "matrix products"),
        ("aten::mm", "matrix products"),
        ("aten::addmm_", "matrix products"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", "attention"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu_backward", "attention"),
        ("aten::native_dropout_backward", "dropout"),
        ("aten::bernoulli_", "dropout"),
        ("aten::native_layer_norm", "norms, activations"),
        ("aten::gelu_backward", "norms, activations"),
        ("aten::_softmax", "norms, activations"),
        ("aten::mul", "other operators"),
        ("aten::copy_", "other operators"),
        ("AddmmBackward0", "outside operators"),
        ("NativeLayerNormBackward0", "outside operators"),
    ],
)
def test_an_operator_has_a_kind(name: str, kind: str) -> None:
    assert kind_of_operator(name) == kind


def test_the_kinds_of_a_call_add_up_to_its_time() -> None:
    model = nn.Sequential(nn.Linear(256, 256), nn.GELU(), nn.Linear(256, 256))

    def call() -> None:
        model(X).sum().backward()
        time.sleep(0.02)

    start = time.perf_counter()
    found = break_down(call, CPU)
    assert tuple(found) == KINDS
    # Three calls, and what it takes to begin and end the observation.
    assert 3 * sum(found.values()) < time.perf_counter() - start
    assert found["matrix products"] > 0
    assert found["norms, activations"] > 0
    assert 0.02 <= found["outside operators"] < sum(found.values())
    assert [found[kind] for kind in ("attention", "dropout", "optimizer", "teacher")] == [0.0] * 4


def test_a_teacher_counts_as_a_whole_and_only_while_it_is_observed() -> None:
    student, teacher = nn.Linear(256, 8), nn.Sequential(nn.Linear(256, 256), nn.GELU())

    def call() -> None:
        student(X)
        teacher(X)

    found = break_down(call, CPU, teacher)
    assert found["teacher"] > 0
    assert found["norms, activations"] == 0
    assert found["matrix products"] > 0
    assert not teacher._forward_hooks
    assert not teacher._forward_pre_hooks
    assert break_down(call, CPU)["teacher"] == 0


def test_what_an_optimizer_does_is_the_optimizers() -> None:
    weight = nn.Parameter(torch.ones(4096, 64))
    weight.grad = torch.ones_like(weight)
    optimizer = torch.optim.AdamW([weight], foreach=False, fused=False)
    found = break_down(optimizer.step, CPU)
    assert found["optimizer"] > 0
    assert found["other operators"] == 0

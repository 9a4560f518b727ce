"""The plain engine alone; `test_deepspeed_engine` tests it beside DeepSpeed."""

import pytest
import torch
from torch.nn import functional

from apt_core.errors import ConfigError
from apt_core.trainer.torch_engine import TorchEngine
from tests.reference.engine_cases import (
    check_against_oracle,
    check_hooks,
    check_leaks,
    check_not_finite,
    check_resume,
)
from tests.reference.engine_tools import SETTINGS, make_engine, train
from tests.reference.tiny_modules import TinyTrained, tiny_batch


def test_fp16_is_refused_with_advice() -> None:
    with pytest.raises(ConfigError, match=r"hardware\.engine=deepspeed"):
        TorchEngine(TinyTrained(), settings=SETTINGS, device=torch.device("cpu"), precision="fp16")


def test_it_equals_plain_adamw_through_a_surgery_with_accumulation() -> None:
    weights, norms = check_against_oracle(["torch"], accumulation_steps=3)["torch"]
    assert weights < 1e-6
    assert norms < 2e-6


def test_it_resumes_skips_and_forgets() -> None:
    assert check_resume([("torch", "bf16")]) == {"torch bf16": 0.0}
    assert check_not_finite(["torch"])["torch"][:3] == [True, 0.0, 0.0]
    assert check_hooks(["torch"])["torch"] == 0.0
    early, late = check_leaks(["torch"], num_rebuilds=4)["torch"]
    assert early == late


def test_bf16_updates_add_up_in_fp32_masters() -> None:
    engine = make_engine("torch", TinyTrained(), precision="bf16")
    assert engine.module.get_parameter("student.up.weight").dtype is torch.bfloat16
    train(engine, range(4))
    state = engine.full_state()
    name = "student.up.lora_a"
    live = engine.full_parameters([name])[name]
    assert live.dtype is torch.bfloat16
    assert state[name].dtype is torch.float32
    assert not torch.equal(state[name], live.float())
    assert torch.equal(state[name].bfloat16(), live)
    released = engine.release()
    assert torch.equal(released.get_parameter(name), state[name])


def test_the_rate_given_to_step_is_the_rate_of_the_update() -> None:
    engine = make_engine("torch", TinyTrained())
    before = engine.full_state()
    inputs, labels = tiny_batch(0)
    engine.backward(engine(inputs, labels, functional.cross_entropy).loss)
    engine.step(learning_rate=0.0)
    after = engine.full_state()
    assert all(torch.equal(before[name], after[name]) for name in before)

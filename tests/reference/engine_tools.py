"""Engines of every kind on tiny modules, how to train them, and the oracle they must equal."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from apt_core.trainer.distributed import rank
from apt_core.trainer.engine import Engine, OptimizerSnapshot, Precision
from apt_core.trainer.optim import OptimizerSettings, learning_rate_at
from apt_core.trainer.torch_engine import TorchEngine
from tests.reference.tiny_modules import TinyTrained, tiny_batch, tiny_surgery

SETTINGS = OptimizerSettings(
    weight_decay=0.1, max_grad_norm=0.5, rate_multipliers={"student.head.*": 5.0}
)
CPU = torch.device("cpu")
Kind = str | int
"""``torch``, or a ZeRO stage."""


def make_engine(
    kind: Kind,
    module: nn.Module,
    snapshot: OptimizerSnapshot | None = None,
    *,
    precision: Precision = "fp32",
    accumulation_steps: int = 1,
) -> Engine:
    common: dict[str, Any] = {
        "settings": SETTINGS,
        "device": CPU,
        "precision": precision,
        "accumulation_steps": accumulation_steps,
    }
    if isinstance(kind, str):
        return TorchEngine(module, snapshot, **common)
    from apt_core.trainer.deepspeed_engine import DeepSpeedEngine

    return DeepSpeedEngine(module, snapshot, zero_stage=kind, persistence_threshold=10, **common)


def rate(step: int) -> float:
    return learning_rate_at(step, peak=0.02, warmup_steps=2, total_steps=8)


def train(engine: Engine, steps: range, *, accumulation_steps: int = 1) -> list[float]:
    """Train on this worker's batches; returns gradient norms."""
    dtype = next(engine.module.parameters()).dtype
    norms = []
    for step in steps:
        for micro in range(accumulation_steps):
            inputs, labels = tiny_batch(step, rank() * accumulation_steps + micro)
            output = engine(inputs.to(dtype), labels, functional.cross_entropy)
            engine.backward(output.loss)
        norms.append(engine.step(rate(step)).grad_norm)
    return norms


def oracle(
    num_shares: int, steps: int, surgery_at: int | None
) -> tuple[dict[str, Tensor], list[float]]:
    """Plain AdamW, one tensor per parameter, on the mean loss over all shares of the batch."""
    module = TinyTrained()
    states: dict[str, dict[str, Any]] = {}
    norms = []
    for step in range(steps):
        if step == surgery_at:
            surgery = tiny_surgery(module)
            for name, edit in surgery.edits.items():
                if name in states:
                    states[name] |= {
                        k: edit.apply(states[name][k]) for k in ("exp_avg", "exp_avg_sq")
                    }
        module.zero_grad()
        for share in range(num_shares):
            inputs, labels = tiny_batch(step, share)
            (module(inputs, labels, functional.cross_entropy).loss / num_shares).backward()
        parameters = {n: p for n, p in module.named_parameters() if p.requires_grad}
        norms.append(nn.utils.clip_grad_norm_(parameters.values(), SETTINGS.max_grad_norm).item())
        for name, parameter in parameters.items():
            adamw = torch.optim.AdamW(
                [parameter],
                lr=rate(step) * (5.0 if name.startswith("student.head.") else 1.0),
                weight_decay=SETTINGS.weight_decay if parameter.ndim > 1 else 0.0,
                foreach=False,
            )
            if name in states:
                adamw.state[parameter] = states[name]
            adamw.step()
            states[name] = dict(adamw.state[parameter])
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}, norms


def largest_difference(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    assert ours.keys() == theirs.keys()
    differences = [(ours[name] - theirs[name]).abs() for name in ours]
    return max(difference.max().item() for difference in differences if difference.numel())


def rebuilt(engine: Engine, kind: Kind, precision: Precision = "fp32") -> Engine:
    """The engine that a checkpoint gives: other objects, the same state."""
    snapshot, state = engine.harvest(), engine.full_state()
    engine.release()
    return make_engine(kind, loaded(state), snapshot, precision=precision)


def loaded(state: dict[str, Tensor]) -> nn.Module:
    """A fresh module with the shapes and values of a saved state, shared as a new one is."""
    torch.manual_seed(99)
    module = TinyTrained()
    for name, parameter in module.named_parameters(remove_duplicate=False):
        parameter.data = torch.full(state[name].shape, torch.nan, dtype=state[name].dtype)
    module.load_state_dict(state)
    return module


def largest_resume_difference(before: Engine, after: Engine) -> float:
    """Over weights, moments, steps and loss scaler."""
    ours, theirs = before.harvest(), after.harvest()
    assert ours.steps == theirs.steps
    assert ours.loss_scaler == theirs.loss_scaler
    tensors = ("masters", "exp_avg", "exp_avg_sq")
    return max(
        largest_difference(before.full_state(), after.full_state()),
        *(largest_difference({**getattr(ours, t)}, {**getattr(theirs, t)}) for t in tensors),
    )

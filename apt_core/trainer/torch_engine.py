"""The engine without DeepSpeed: plain AdamW, one all-reduce, fp32 masters under bf16."""

from typing import Any

import torch
from torch import Tensor, nn

from apt_core.errors import ConfigError
from apt_core.trainer.distributed import all_reduce_sum, broadcast_from_first, world_size
from apt_core.trainer.engine import OptimizerSnapshot, Precision, StepOutcome
from apt_core.trainer.optim import (
    OptimizerSettings,
    build_adamw,
    parameter_groups,
    set_learning_rate,
    trainable_parameters,
)
from apt_core.trainer.shards import (
    Piece,
    Shard,
    graft,
    load_masters,
    snapshot_of,
    state_on_cpu,
)


class TorchEngine:
    """Data-parallel training in plain PyTorch; every worker holds everything.

    A parameter without a gradient (nothing used it in this step) counts as having gradient zero, as
    under ZeRO: all workers must reduce the same buffer. A step whose gradient norm is not finite is
    skipped.

    Args:
        module: The module to train; moved to `device`, and cast to bf16 if asked for.
        snapshot: Optimizer state to continue from.
        settings: AdamW and clipping.
        device: Where to train.
        precision: ``fp32``, or ``bf16`` with fp32 masters kept here.
        accumulation_steps: Calls of `backward` per call of `step`.

    Raises:
        ConfigError: For fp16, which needs a loss scaler: that is DeepSpeed's.
    """

    gradient_scale = 1.0
    """No loss scaling here: hooks see gradients as they are (divided by the accumulation steps)."""

    def __init__(
        self,
        module: nn.Module,
        snapshot: OptimizerSnapshot | None = None,
        *,
        settings: OptimizerSettings,
        device: torch.device,
        precision: Precision = "fp32",
        accumulation_steps: int = 1,
    ) -> None:
        if precision == "fp16":
            raise ConfigError(
                "hardware.precision: the torch engine has no loss scaler, got 'fp16'; "
                "set hardware.engine=deepspeed or hardware.precision=bf16"
            )
        snapshot = snapshot or OptimizerSnapshot()
        self.module = module.to(device)
        self._settings = settings
        self._accumulation_steps = accumulation_steps
        load_masters(module, snapshot)
        self._parameters = dict(trainable_parameters(module))
        broadcast_from_first(list(self._parameters.values()))
        self._masters: dict[str, Tensor] = dict(self._parameters)
        if precision == "bf16":
            self._masters = {n: p.detach().float().clone() for n, p in self._parameters.items()}
            for parameter in module.parameters():
                parameter.data = parameter.data.to(torch.bfloat16)
        groups = parameter_groups(self._masters.items(), settings, snapshot.steps)
        self._optimizer = build_adamw(groups, settings)
        self._shards = [
            Shard(master, (Piece(name, master.shape, 0, master.numel()),))
            for name, master in self._masters.items()
        ]
        graft(self._shards, self._optimizer, snapshot)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Forward pass through the module."""
        return self.module(*args, **kwargs)

    def backward(self, loss: Tensor) -> None:
        """Accumulate the gradients of one micro-batch's share of the loss."""
        torch.autograd.backward(loss / self._accumulation_steps)

    def step(self, learning_rate: float) -> StepOutcome:
        """Average over workers, clip, update, clear; skipped when the norm is not finite."""
        gradients = self._averaged_gradients()
        norm = torch.nn.utils.get_total_norm(gradients)
        applied = bool(norm.isfinite())
        if applied:
            self._update(gradients, norm, learning_rate)
        self.module.zero_grad(set_to_none=True)
        return StepOutcome(norm.item() if applied else 0.0, loss_scale=1.0, overflowed=not applied)

    def full_parameters(self, names: list[str]) -> dict[str, Tensor]:
        """Current values by name, in the module's own precision."""
        return {name: self.module.get_parameter(name).detach() for name in names}

    def harvest(self) -> OptimizerSnapshot:
        """The optimizer's whole state."""
        return snapshot_of(self._shards, self._optimizer, {})

    def full_state(self) -> dict[str, Tensor]:
        """Every parameter and persistent buffer on the CPU; trainable ones as fp32 masters."""
        masters = {id(p): self._masters[name] for name, p in self._parameters.items()}
        return state_on_cpu(self.module, masters)

    def release(self) -> nn.Module:
        """Give the module back, trainable parameters in fp32; the engine is dead afterwards."""
        for name, parameter in self._parameters.items():
            parameter.data = self._masters[name].detach()
            parameter.grad = None
        self._optimizer.state.clear()
        return self.module

    def _averaged_gradients(self) -> list[Tensor]:
        gradients = [
            (torch.zeros_like(p) if p.grad is None else p.grad).float()
            for p in self._parameters.values()
        ]
        if world_size() == 1:
            return gradients
        return [total / world_size() for total in all_reduce_sum(gradients)]

    def _update(self, gradients: list[Tensor], norm: Tensor, learning_rate: float) -> None:
        for master, gradient in zip(self._masters.values(), gradients, strict=True):
            master.grad = gradient
        if self._settings.max_grad_norm > 0:
            torch.nn.utils.clip_grads_with_norm_(
                self._masters.values(), self._settings.max_grad_norm, norm
            )
        set_learning_rate(self._optimizer.param_groups, learning_rate)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        for name, parameter in self._parameters.items():
            if parameter is not self._masters[name]:
                parameter.data.copy_(self._masters[name])

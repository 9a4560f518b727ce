"""The engine on DeepSpeed ZeRO 0 to 3. The only file that imports deepspeed.

Import it late: deepspeed takes seconds.

A ZeRO engine cannot follow a change of shape, so it is rebuilt: `harvest` the optimizer state,
`release` the module, operate on it, construct a new engine with the operated snapshot. The layout
of DeepSpeed's fp32 vectors is read from private attributes of version 0.19; `_shards` is the one
place that knows them, and the tests guard it.
"""

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.is_available() else "cpu")

# DeepSpeed's autotuner imports MLflow where it is installed: seconds per run, for nothing.
if is_mlflow_hidden := "mlflow" not in sys.modules:
    sys.modules["mlflow"] = None  # type: ignore[assignment]
import deepspeed

if is_mlflow_hidden:
    del sys.modules["mlflow"]
from deepspeed.runtime.zero import parameter_offload
from deepspeed.runtime.zero.partition_parameters import ZeroParamStatus
from torch import Tensor, nn

from apt_core.errors import ConfigError
from apt_core.trainer.dataclass_output import DataclassOutput
from apt_core.trainer.deepspeed_config import deepspeed_config, worthwhile_stage
from apt_core.trainer.distributed import (
    broadcast_from_first,
    ensure_process_group,
    share_timeout,
    world_size,
)
from apt_core.trainer.engine import OptimizerSnapshot, Precision, StepOutcome
from apt_core.trainer.optim import (
    OptimizerSettings,
    build_adamw,
    parameter_groups,
    set_learning_rate,
    trainable_parameters,
)
from apt_core.trainer.shards import (
    graft,
    load_masters,
    snapshot_of,
    state_on_cpu,
)
from apt_core.trainer.zero_layout import PARTITIONED, zero_shards
from apt_core.trainer.zero_module import EmptyParameters, replace_parameters

deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # else it is compiled: 30 s cold
deepspeed.utils.logger.setLevel(logging.ERROR)
warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed")

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
LOSS_SCALER_FIELDS = ("cur_scale", "cur_iter", "last_overflow_iter", "cur_hysteresis")


class DeepSpeedEngine:
    """Data-parallel training under ZeRO, in fp32, bf16 or fp16 with dynamic loss scaling.

    Gradients that hooks see, on activations and on trainable leaf parameters (`p.register_hook`),
    have the full shape at every stage; they are this worker's own, divided by `accumulation_steps`
    and multiplied by `gradient_scale`.

    Args:
        module: The module to train; its forward may return tensors in a tuple, dict, NamedTuple or
            dataclass.
        snapshot: Optimizer state to continue from.
        settings: AdamW and clipping.
        device: Where to train; DeepSpeed takes the accelerator of its own choice, which must be the
            same.
        precision: fp16 needs a device that supports it.
        accumulation_steps: Calls of `backward` per call of `step`.
        zero_stage: 0 (nothing divided), 1 (optimizer state), 2 (and gradients) or 3 (and
            parameters); see `worthwhile_stage`.
        persistence_threshold: ZeRO 3 leaves smaller parameters whole on every worker.

    Raises:
        ConfigError: When the device is not DeepSpeed's accelerator, or cannot do fp16.
    """

    def __init__(
        self,
        module: nn.Module,
        snapshot: OptimizerSnapshot | None = None,
        *,
        settings: OptimizerSettings,
        device: torch.device,
        precision: Precision = "fp32",
        accumulation_steps: int = 1,
        zero_stage: int = 2,
        persistence_threshold: int = 100_000,
    ) -> None:
        _check_device(device, precision)
        ensure_process_group(device)
        snapshot = snapshot or OptimizerSnapshot()
        self.module = module.to(device)
        zero_stage = self._zero_stage = worthwhile_stage(zero_stage, world_size())
        self._precision = precision
        self._settings = settings
        load_masters(module, snapshot)
        trainable = dict(trainable_parameters(module))
        broadcast_from_first(list(trainable.values()))
        self._names = {id(parameter): name for name, parameter in trainable.items()}
        self._dataclass_output = DataclassOutput(module)
        self._empty = (
            EmptyParameters(module, DTYPES[precision]) if zero_stage == PARTITIONED else None
        )
        # DeepSpeed makes masters from the rounded module; the exact values are put back below.
        exact = {} if precision == "fp32" else {n: p.detach() for n, p in trainable.items()}
        groups = parameter_groups(trainable.items(), settings, snapshot.steps)
        self._adamw = build_adamw(groups, settings)
        config = deepspeed_config(
            zero_stage=zero_stage,
            precision=precision,
            accumulation_steps=accumulation_steps,
            max_grad_norm=settings.max_grad_norm,
            num_trainable=sum(parameter.numel() for parameter in trainable.values()),
            persistence_threshold=persistence_threshold,
        )
        self._engine = deepspeed.initialize(model=module, optimizer=self._adamw, config=config)[0]
        if world_size() > 1:
            share_timeout(deepspeed.utils.groups._get_data_parallel_group())
        self._layout = list(zero_shards(self._engine.optimizer, self._names, zero_stage))
        graft(self._layout, self._adamw, snapshot)
        for shard in self._layout:
            shard.put(exact, shard.master)
        self._restore_loss_scaler(snapshot)

    @property
    def gradient_scale(self) -> float:
        """The fp16 loss scale in force, 1.0 otherwise: divide gradients that hooks see by it."""
        return float(self._engine.optimizer.loss_scale) if self._precision == "fp16" else 1.0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Forward pass through the module; training must go through here, evaluation need not."""
        with self._dataclass_output.unpacked() as restore:
            return restore(self._engine(*args, **kwargs))

    def backward(self, loss: Tensor) -> None:
        """Backward pass of one micro-batch; DeepSpeed divides by the number of micro-batches."""
        if self._precision == "fp16" and self._zero_stage == 0:
            loss = loss * self.gradient_scale  # DeepSpeed unscales here, but forgets to scale
        self._engine.backward(loss)
        if not self._engine.is_gradient_accumulation_boundary():
            self._engine.step()  # only counts the micro-batch

    def step(self, learning_rate: float) -> StepOutcome:
        """Clip, update, clear; gradients are reduced already. Skipped when one is inf or nan."""
        if not self._engine.is_gradient_accumulation_boundary():
            raise RuntimeError(
                "step() came before all micro-batches of this step had their backward()"
            )
        scale = self.gradient_scale
        set_learning_rate(self._adamw.param_groups, learning_rate)
        if self._zero_stage == 0 and self._precision == "fp32":
            return self._plain_step()
        self._engine.step()
        if self._engine.optimizer.overflow:
            return StepOutcome(0.0, loss_scale=scale, overflowed=True)
        norm = float(self._engine.get_global_grad_norm())
        if self._zero_stage == 0:
            norm /= scale  # the only stage that reports it scaled
        return StepOutcome(norm, loss_scale=scale, overflowed=False)

    def full_parameters(self, names: list[str]) -> dict[str, Tensor]:
        """Current values by name, in the module's own precision; collective under ZeRO 3."""
        parameters = {name: self.module.get_parameter(name) for name in names}
        full = self._full(list(parameters.values()))
        return {name: full[id(parameter)] for name, parameter in parameters.items()}

    def harvest(self) -> OptimizerSnapshot:
        """Collective: the optimizer's whole state. The engine stays usable."""
        return snapshot_of(self._layout, self._adamw, self._loss_scaler_state())

    def full_state(self) -> dict[str, Tensor]:
        """Collective: all parameters and persistent buffers on the CPU, trainable ones in fp32."""
        return state_on_cpu(self.module, self._all_values())

    def release(self) -> nn.Module:
        """Collective: destroy the engine and hand back the module, trainable parameters in fp32.

        All parameters come as new `nn.Parameter` objects (shared ones stay shared): hooks on the
        old ones are gone.
        """
        values = self._all_values()
        engine, self._engine = self._engine, None
        engine.destroy()
        engine.module_forward_pre_hook.remove()  # destroy() forgets these two
        engine.module_forward_post_hook.remove()
        stack = parameter_offload.FWD_MODULE_STACK
        stack[:] = [module for module in stack if module is not self.module]
        self._dataclass_output.remove()
        replace_parameters(self.module, values)
        if self._empty is not None:
            self._empty.restore()
        self._layout.clear()
        self._adamw.state.clear()
        _dismantle(engine)
        return self.module

    def _plain_step(self) -> StepOutcome:
        """ZeRO 0 in fp32: DeepSpeed would not report the norm, nor look for inf and nan."""
        parameters = [p for p in self.module.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        applied = bool(norm.isfinite())
        if not applied:
            self.module.zero_grad(set_to_none=True)
        elif self._settings.max_grad_norm > 0:
            torch.nn.utils.clip_grads_with_norm_(parameters, self._settings.max_grad_norm, norm)
        self._engine.step()
        return StepOutcome(norm.item() if applied else 0.0, loss_scale=1.0, overflowed=not applied)

    def _loss_scaler(self) -> Any:
        optimizer = self._engine.optimizer
        return optimizer.loss_scale_config if self._zero_stage == 0 else optimizer.loss_scaler

    def _loss_scaler_state(self) -> dict[str, float | int]:
        if self._precision != "fp16":
            return {}
        scaler = self._loss_scaler()
        return {name: getattr(scaler, name) for name in LOSS_SCALER_FIELDS if hasattr(scaler, name)}

    def _restore_loss_scaler(self, snapshot: OptimizerSnapshot) -> None:
        if self._precision == "fp16":
            for name, value in snapshot.loss_scaler.items():
                setattr(self._loss_scaler(), name, value)

    def _all_values(self) -> dict[int, Tensor]:
        """Full value of every parameter by `id`; the masters of the trainable ones."""
        ids = {name: key for key, name in self._names.items()}
        masters = {
            ids[name]: value
            for shard in self._layout
            for name, value in shard.gather(shard.master).items()
        }
        frozen = [p for p in self.module.parameters() if id(p) not in masters]
        for parameter in frozen:  # one at a time: only the copies add up under ZeRO 3
            masters |= self._full([parameter])
        return masters

    def _full(self, parameters: list[nn.Parameter]) -> dict[int, Tensor]:
        """Full values by `id`, gathered in one go."""
        with _gathered(parameters):
            values = {id(parameter): parameter.detach() for parameter in parameters}
            if self._zero_stage == PARTITIONED:
                values = {key: value.clone() for key, value in values.items()}
        return values


@contextmanager
def _gathered(parameters: list[nn.Parameter]) -> Iterator[None]:
    """Within, parameters that ZeRO 3 has partitioned are whole on every worker."""
    away = [p for p in parameters if getattr(p, "ds_status", None) is ZeroParamStatus.NOT_AVAILABLE]
    if not away:
        yield
        return
    with deepspeed.zero.GatheredParameters(away):
        yield


def _check_device(device: torch.device, precision: Precision) -> None:
    accelerator = deepspeed.accelerator.get_accelerator()
    if accelerator.device_name() != device.type:
        raise ConfigError(
            f"hardware.gpus_per_worker: DeepSpeed found {accelerator.device_name()!r}, but this "
            f"worker was given {device.type!r}; ask for a GPU or hide it (CUDA_VISIBLE_DEVICES=)"
        )
    if precision == "fp16" and not accelerator.is_fp16_supported():
        raise ConfigError(
            "hardware.precision: this device cannot train in fp16, got 'fp16'; "
            "set hardware.precision=fp32 or bf16"
        )


def _dismantle(engine: Any) -> None:
    """Cut the reference cycles of a dead engine: its memory is free now, not when the gc runs."""
    offload = getattr(engine.optimizer, "parameter_offload", None)
    parts = [engine.optimizer, offload, getattr(offload, "param_coordinator", None), engine]
    for part in parts:
        if part is not None:
            part.__dict__.clear()

"""What a training engine must do: the loop never knows whether DeepSpeed runs below it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from torch import Tensor, nn

from apt_core.models.surgery_record import Surgery

Precision = Literal["fp32", "bf16", "fp16"]
"""Dtype of forward and backward; masters and moments are always fp32."""


class StepOutcome(NamedTuple):
    """What one optimizer step did."""

    grad_norm: float
    """Global gradient norm before clipping, unscaled; 0.0 when the step was skipped."""
    loss_scale: float
    """fp16 loss scale in force during the step; 1.0 otherwise."""
    overflowed: bool
    """The gradients held inf or nan: the optimizer skipped the step and salience must skip it
    too.
    """


@dataclass(frozen=True)
class OptimizerSnapshot:
    """Everything an optimizer knows, by parameter name, in full fp32 tensors on the CPU."""

    masters: Mapping[str, Tensor] = field(default_factory=dict)
    """fp32 values of the trainable parameters."""
    exp_avg: Mapping[str, Tensor] = field(default_factory=dict)
    exp_avg_sq: Mapping[str, Tensor] = field(default_factory=dict)
    steps: Mapping[str, float] = field(default_factory=dict)
    """Adam's per-parameter step count (bias correction)."""
    loss_scaler: Mapping[str, Any] = field(default_factory=dict)
    """State of the dynamic loss scaler, JSON-able."""

    def after(self, surgery: Surgery, *, reset: bool = False) -> "OptimizerSnapshot":
        """The snapshot that fits the operated model.

        Surviving slices keep their moments, grown entries get zeros, removed parameters are
        dropped. With `reset` all
        moments are dropped (paper, section 6). Masters are always dropped for edited parameters:
        the surgery has
        already written the module's own values, and those are the truth.
        """
        gone = surgery.removed
        masters = {
            n: t for n, t in self.masters.items() if n not in gone and n not in surgery.edits
        }
        if reset:
            return OptimizerSnapshot(masters=masters, loss_scaler=self.loss_scaler)

        def edited(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {
                name: surgery.edits[name].apply(tensor) if name in surgery.edits else tensor
                for name, tensor in tensors.items()
                if name not in gone
            }

        steps = {name: step for name, step in self.steps.items() if name not in gone}
        return OptimizerSnapshot(
            masters, edited(self.exp_avg), edited(self.exp_avg_sq), steps, self.loss_scaler
        )


class Engine(Protocol):
    """Runs forward, backward and the optimizer step of one module, on one or many workers."""

    module: nn.Module
    """The plain module underneath; under ZeRO-3 its parameters are partitioned between calls."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Forward pass through the module."""
        ...

    @property
    def gradient_scale(self) -> float:
        """Factor on every gradient that hooks see (the fp16 loss scale, else 1.0): divide by it.

        Such gradients, on activations and on trainable leaf parameters, have the full shape under
        every ZeRO stage; they are this worker's own and divided by the number of micro-batches.
        """
        ...

    def backward(self, loss: Tensor) -> None:
        """Backward pass of one micro-batch; divides by the number of micro-batches itself."""
        ...

    def step(self, learning_rate: float) -> StepOutcome:
        """Reduce over workers, clip, update at this learning rate, and clear the gradients."""
        ...

    def full_parameters(self, names: list[str]) -> dict[str, Tensor]:
        """Full current values (detached) of these parameters, by name; collective under ZeRO-3."""
        ...

    def harvest(self) -> OptimizerSnapshot:
        """Collective: the optimizer's whole state. The engine stays usable."""
        ...

    def full_state(self) -> dict[str, Tensor]:
        """Collective: every full parameter and persistent buffer, by name, on the CPU.

        Trainable parameters come as their fp32 masters. A shared tensor appears under each of its
        names, as one and the same tensor.
        """
        ...

    def release(self) -> nn.Module:
        """Collective: destroy the engine and hand back the module, trainable parameters in fp32.

        The parameters may be new objects (shared ones stay shared), so hooks on them are gone.
        """
        ...


EngineFactory = Callable[[nn.Module, OptimizerSnapshot | None], Engine]
"""Builds an engine around a plain module; grafts the snapshot when one is given."""

"""Parameter groups, AdamW and the learning rate, shared by every engine.

The rate is a pure function of the step and reaches the optimizer anew with every update, so it
stays attached to whatever optimizer is alive: shape changes rebuild the optimizer and cannot lose a
schedule.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

import torch
from torch import Tensor, nn

RESTART_FACTOR = 0.1


@dataclass(frozen=True)
class OptimizerSettings:
    """What AdamW and gradient clipping need besides the rate."""

    weight_decay: float = 0.0
    """Decoupled decay; biases and norms (fewer than two dimensions) are exempt."""
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    max_grad_norm: float = 1.0
    """Clip the global gradient norm to this; 0 turns clipping off."""
    rate_multipliers: Mapping[str, float] = field(default_factory=dict)
    """Shell-style pattern of parameter names -> factor on the rate; the first match counts."""

    def rate_multiplier(self, name: str) -> float:
        """The factor on the learning rate of one parameter."""
        for pattern, multiplier in self.rate_multipliers.items():
            if fnmatchcase(name, pattern):
                return multiplier
        return 1.0


def learning_rate_at(
    step: int,
    *,
    peak: float,
    warmup_steps: int,
    total_steps: int,
    schedule: Literal["linear", "constant"] = "linear",
) -> float:
    """Learning rate of the update that follows `step` finished ones.

    With W = warmup_steps and T = total_steps: ``peak * (step + 1) / (W + 1)`` while step < W, then
    ``peak`` (constant) or ``peak * (T - step) / (T - W)`` (linear). No update is wasted at rate 0:
    the first runs at peak / (W + 1), the last at peak / (T - W).

    Args:
        step: Finished updates, from 0.
        peak: The rate right after warm-up.
        warmup_steps: Updates before the peak.
        total_steps: Updates of the whole run; the linear rate is 0 from there on.
        schedule: What follows the warm-up.

    Returns:
        A rate in [0, peak].
    """
    if step < warmup_steps:
        return peak * (step + 1) / (warmup_steps + 1)
    if schedule == "constant":
        return peak
    if step >= total_steps:
        return 0.0
    return peak * (total_steps - step) / (total_steps - warmup_steps)


def detached_learning_rate_at(
    step: int,
    attached: Callable[[int], float],
    *,
    peak: float,
    first_event: int,
    restart: int,
    total_steps: int,
) -> float:
    """Learning rate of a run whose schedule is lost at the first event: the authors' code.

    Every event throws the optimizer away there, and the schedule stays bound to the old one: the
    new one keeps its initial rate. With E = first_event, R = restart and T = total_steps: the
    attached rate while step < E, then ``peak`` while step < R, then
    ``0.1 * peak * (T - step) / (T - R)``.

    Args:
        step: Finished updates, from 0.
        attached: The schedule before the first event.
        peak: The optimizer's initial rate.
        first_event: Step of the first event.
        restart: Last step with a teacher, where a new schedule begins at a tenth of the peak;
            `total_steps` where nobody teaches.
        total_steps: Updates of the whole run.

    Returns:
        A rate in [0, peak].
    """
    if step < first_event:
        return attached(step)
    if step < restart:
        return peak
    return RESTART_FACTOR * peak * max(total_steps - step, 0) / max(total_steps - restart, 1)


def trainable_parameters(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """What an optimizer owns: trainable parameters by name, each once, none of size zero."""
    for name, parameter in module.named_parameters():
        if parameter.requires_grad and parameter.numel() > 0:
            yield name, parameter


def parameter_groups(
    parameters: Iterable[tuple[str, Tensor]],
    settings: OptimizerSettings,
    steps: Mapping[str, float] | None = None,
) -> list[dict[str, Any]]:
    """Split the parameters to train into groups that share decay, rate multiplier and Adam step.

    ZeRO flattens a group into one vector with one step count. Parameters that joined the training
    later (a new projection, say) have made fewer steps, so they get a group of their own and their
    own bias correction.

    Args:
        parameters: Names and tensors, see `trainable_parameters`.
        settings: Decay and rate multipliers.
        steps: Adam steps made so far, by name; absent means 0.

    Returns:
        Groups for `torch.optim.AdamW`, in order of first appearance, each with a
        ``rate_multiplier``.
    """
    groups: dict[tuple[float, float, float], dict[str, Any]] = {}
    for name, parameter in parameters:
        decay = settings.weight_decay if parameter.ndim > 1 else 0.0
        multiplier = settings.rate_multiplier(name)
        key = (decay, multiplier, (steps or {}).get(name, 0.0))
        group = groups.setdefault(
            key, {"params": [], "weight_decay": decay, "rate_multiplier": multiplier, "lr": 0.0}
        )
        group["params"].append(parameter)
    return list(groups.values())


def build_adamw(groups: list[dict[str, Any]], settings: OptimizerSettings) -> torch.optim.AdamW:
    """AdamW with its fused kernel, which CPUs and GPUs have alike."""
    return torch.optim.AdamW(groups, lr=0.0, betas=settings.betas, eps=settings.eps, fused=True)


def set_learning_rate(groups: list[dict[str, Any]], learning_rate: float) -> None:
    """Put a rate into live parameter groups, each with its own multiplier."""
    for group in groups:
        group["lr"] = learning_rate * group["rate_multiplier"]

"""Where the time of a step or a forward pass goes, by kind of work, as PyTorch's profiler tells."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, get_args

import torch
from torch import nn
from torch.autograd.profiler import record_function
from torch.profiler import ProfilerActivity, profile

from apt_core.bench.settings import PROFILED
from apt_core.evaluator.turns import seconds_of

Kind = Literal[
    "matrix products",
    "attention",
    "dropout",
    "norms, activations",
    "other operators",
    "optimizer",
    "teacher",
    "outside operators",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""In the order of tables. ``teacher`` is its whole forward pass; ``outside operators`` is what no
operator accounts for: Python, hooks, the autograd engine, on a GPU its idle time."""
REST: Kind = "outside operators"
_TEACHER = "aptune: teacher"
_PRODUCTS = {f"aten::{name}" for name in ("mm", "addmm", "bmm", "baddbmm", "mv", "addmv")}
_BY_PART_OF_NAME: Mapping[str, Kind] = {
    "attention": "attention",
    "dropout": "dropout",
    "bernoulli": "dropout",
    "norm": "norms, activations",
    "gelu": "norms, activations",
    "silu": "norms, activations",
    "relu": "norms, activations",
    "tanh": "norms, activations",
    "softmax": "norms, activations",
    "mkldnn_linear": "matrix products",
}
Seconds = Mapping[Kind, float]


def break_down(
    call: Callable[[], object], device: torch.device, teacher: nn.Module | None = None
) -> Seconds:
    """Observe `PROFILED` calls.

    Args:
        call: what is observed.
        device: where it runs.
        teacher: its forward pass counts as a whole, whatever it consists of.

    Returns:
        Seconds per call by kind of work: of an operator without those that it calls, on a GPU of
        its kernels. They add up to the time of a call under observation, which makes it slower.
    """

    def calls() -> None:
        for _ in range(PROFILED):
            call()

    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with _labelled(teacher), profile(activities=activities, acc_events=True) as observed:
        whole = seconds_of(calls)
    seconds: dict[Kind, float] = dict.fromkeys(KINDS, 0.0)
    for event in observed.events():
        # Kernels are events, too; their time stands with the operators that started them.
        if event.device_type.name == "CPU":
            own = event.self_device_time_total if on_gpu else event.self_cpu_time_total
            seconds[_kind_of(event)] += own * 1e-6
    # Labels and nodes of autograd are no operators: what they take themselves is in the rest.
    seconds[REST] = 0.0
    seconds[REST] = max(0.0, whole - sum(seconds.values()))
    return {kind: total / PROFILED for kind, total in seconds.items()}


@contextmanager
def _labelled(teacher: nn.Module | None) -> Iterator[None]:
    """Inside, the profiler sees the teacher's forward pass under one name."""
    if teacher is None:
        yield
        return
    open_labels: list[record_function] = []

    def enter(*_: object) -> None:
        open_labels.append(record_function(_TEACHER))
        open_labels[-1].__enter__()

    def leave(*_: object) -> None:
        open_labels.pop().__exit__(None, None, None)

    handles = (
        teacher.register_forward_pre_hook(enter),
        teacher.register_forward_hook(leave, always_call=True),
    )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _kind_of(event: Any) -> Kind:
    names = list(_names(event))
    if _TEACHER in names:
        return "teacher"
    if any(name.startswith("Optimizer.") for name in names):
        return "optimizer"
    return kind_of_operator(event.name)


def _names(event: Any) -> Iterator[str]:
    """An event's name, and those of all that it happened in."""
    while event is not None:
        yield event.name
        event = event.cpu_parent


def kind_of_operator(name: str) -> Kind:
    """What an operator of that name does.

    Args:
        name: as the profiler has it, e.g. ``aten::addmm``.

    Returns:
        Its kind.
    """
    if name.rstrip("_") in _PRODUCTS:
        return "matrix products"
    for part, kind in _BY_PART_OF_NAME.items():
        if part in name and "::" in name:
            return kind
    return "other operators" if name.startswith("aten::") else REST

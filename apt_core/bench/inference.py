"""Times forward passes of the merged, sliced model and of the dense one, in turns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from apt_core.bench.device_rates import DeviceWork
from apt_core.bench.flops import Bound, Network, Rates, Rows, forward_bytes, forward_flops
from apt_core.bench.phases import AIM_DENSITY, MIN_SPEEDUPS
from apt_core.bench.profiling import break_down
from apt_core.bench.report import InferenceResult, ProfileResult, Ratio, Timed
from apt_core.bench.rig import Rig
from apt_core.bench.training import rig_network
from apt_core.evaluator.efficiency import forward_inputs, merged_copy
from apt_core.evaluator.turns import Call, Spread, Timer, times_in_turns


@dataclass(frozen=True)
class Served:
    """A model as it is served, and how to count it."""

    model: nn.Module
    network: Callable[[Rows], Network]

    @classmethod
    def of(cls, rig: Rig, device: torch.device, dtype: torch.dtype) -> "Served":
        """The merged copy of a rig's student; the rig's engine is given up.

        Args:
            rig: what was trained.
            device: where it is served.
            dtype: in which number format.

        Returns:
            The copy.
        """
        rig.release()
        structure = rig.structure.with_ranks({})

        def network(rows: Rows) -> Network:
            return replace(rig_network(rig, rows), structure=structure)

        return cls(merged_copy(rig.student).to(device, dtype), network)


@torch.no_grad()
def time_inference(
    pruned: Served,
    dense: Served,
    batch: Mapping[str, Tensor],
    rows: Rows,
    *,
    work: DeviceWork,
    density: float,
    warmup: int,
    repeats: int,
    timer: Timer,
) -> InferenceResult:
    """One size of batch.

    Args:
        pruned: the merged, sliced model.
        dense: the merged control.
        batch: of that size, on the device.
        rows: its size.
        work: what the device's rates are taken from, in the same rounds.
        density: the aims are for one of them.
        warmup: rounds before the clock starts.
        repeats: rounds that count.
        timer: how a pass is timed.

    Returns:
        The result.
    """
    models = (pruned, dense)
    inputs = forward_inputs(pruned.model, batch)
    calls: list[Call] = [*(partial(served.model, **inputs) for served in models), *work.calls]
    times = times_in_turns([calls], warmup=warmup, repeats=repeats, timer=timer)
    rates = work.rates(times[len(models) :])
    ours, theirs = (
        Timed(Spread.of(taken), _bound(served, rows, rates))
        for served, taken in zip(models, times, strict=False)
    )
    aim = MIN_SPEEDUPS.get((rows.rows, rows.tokens)) if density == AIM_DENSITY else None
    speedup = Ratio(theirs.seconds.median / ours.seconds.median, aim, higher_is_better=True)
    return InferenceResult(rows.rows, rows.tokens, ours, theirs, speedup)


@torch.no_grad()
def profile_inference(
    pruned: Served, dense: Served, batch: Mapping[str, Tensor], rows: Rows, device: torch.device
) -> list[ProfileResult]:
    """What a forward pass of each is made of.

    Args:
        pruned: the merged, sliced model.
        dense: the merged control.
        batch: of that size, on the device.
        rows: its size.
        device: where.

    Returns:
        Of the dense model and of the other one.
    """
    inputs = forward_inputs(pruned.model, batch)
    ours, theirs = (
        break_down(partial(served.model, **inputs), device) for served in (pruned, dense)
    )
    size = f"{rows.rows} x {rows.tokens}"
    return [
        ProfileResult(f"{size}, dense", theirs, theirs),
        ProfileResult(f"{size}, merged", ours, theirs),
    ]


def _bound(served: Served, rows: Rows, rates: Rates) -> Bound:
    network = served.network(rows)
    width = next(served.model.parameters()).element_size()
    return Bound.of(forward_flops(network, rows), forward_bytes(network, width), rates)

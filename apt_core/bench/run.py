"""The whole benchmark: memory first, then steps in turns, then the models that came out."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

import torch
from torch import Tensor

from apt_core.bench.device_rates import DeviceWork, gemm_shapes
from apt_core.bench.flops import Rows
from apt_core.bench.inference import Served, profile_inference, time_inference
from apt_core.bench.memory import PeakMemory, in_isolation
from apt_core.bench.phases import CONTROL, RETRAINING, Phase
from apt_core.bench.profiling import break_down
from apt_core.bench.report import BenchReport, InferenceResult, MemoryResult, ProfileResult, Ratio
from apt_core.bench.rig import Rig
from apt_core.bench.settings import BenchSettings
from apt_core.bench.training import surgery_costs, time_steps
from apt_core.evaluator.turns import timer_of
from apt_core.models.spec import HeadKind

logger = logging.getLogger(__name__)

CPU_MEMORY_NOTE = (
    "memory: peak of the tensors, by PyTorch's profiler, in one fresh process per phase; the "
    "resident memory beside it holds libraries, buffers of operators and what was freed, too"
)


class Builder(Protocol):
    """Makes what is measured, see `RigBuilder`."""

    settings: BenchSettings
    device: torch.device
    dtype: torch.dtype
    head_kind: HeadKind

    @property
    def inference_rows(self) -> tuple[Rows, ...]:
        """What forward passes work on."""
        ...

    def rig(self, phase: Phase) -> Rig:
        """A training that has been led into a phase."""
        ...

    def make_batch(self, rows: Rows) -> dict[str, Tensor]:
        """A batch on the device."""
        ...

    def facts(self) -> dict[str, Any]:
        """Where and with what is measured."""
        ...


def run_bench(
    phases: Sequence[Phase],
    build: Callable[[], Builder],
    peak_of: Mapping[Phase, Callable[[], PeakMemory]],
    *,
    device: torch.device,
    facts: Mapping[str, Any],
) -> BenchReport:
    """Measure everything.

    Args:
        phases: the arm's phases, the control first.
        build: makes the builder; called when memory has been measured, so that nothing else lives.
        peak_of: what measures the peak memory of a phase, by itself; empty: nobody does.
        device: where.
        facts: what was asked for, in the report's settings.

    Returns:
        The report.
    """
    memory = measure_memory(peak_of, facts["density"], device)
    builder = build()
    settings, timer = builder.settings, timer_of(device)
    rigs = {phase: _led(builder, phase) for phase in phases}
    rows = settings.rows(builder.head_kind)
    work = DeviceWork(gemm_shapes(rigs[CONTROL].structure, rows), builder.dtype, device)
    logger.info("timing %d rounds of %d phases", settings.num_steps, len(phases))
    turns: dict[str, Any] = {
        "work": work,
        "density": settings.density,
        "warmup": settings.warmup,
        "repeats": settings.repeats,
        "timer": timer,
    }
    training, rates = time_steps(rigs, rows=rows, **turns)
    profile = profile_steps(rigs, device) if settings.profile else []
    surgery = surgery_costs(rigs.values())
    inference, more = _inference(rigs, builder, turns) if RETRAINING in rigs else ([], [])
    return BenchReport(
        settings={**facts, **asdict(settings)},
        environment=builder.facts(),
        rates=rates,
        training=training,
        memory=memory,
        surgery=surgery,
        inference=tuple(inference),
        profile=(*profile, *more),
        notes=(CPU_MEMORY_NOTE,) if memory and device.type != "cuda" else (),
    )


def _led(builder: Builder, phase: Phase) -> Rig:
    logger.info("leading a training into phase %s", phase.name)
    return builder.rig(phase)


def measure_memory(
    peak_of: Mapping[Phase, Callable[[], PeakMemory]], density: float, device: torch.device
) -> tuple[MemoryResult, ...]:
    """Peak memory of every phase by itself.

    Args:
        peak_of: what measures a phase, the control first.
        density: of the phases after the cuts.
        device: where.

    Returns:
        A result per phase.
    """
    results: list[MemoryResult] = []
    for phase, measure in peak_of.items():
        logger.info("measuring the peak memory of phase %s", phase.name)
        peak = in_isolation(measure, device)
        control = results[0].peak if results else peak
        ratio = Ratio(
            peak.tensors_gib / control.tensors_gib, phase.aim_at(density, phase.memory_aim)
        )
        results.append(MemoryResult(phase, peak, ratio))
    return tuple(results)


def profile_steps(rigs: Mapping[Phase, Rig], device: torch.device) -> list[ProfileResult]:
    """What a step of every phase is made of.

    Args:
        rigs: one per phase, the control first.
        device: where.

    Returns:
        A result per phase.
    """
    logger.info("observing the steps of %d phases", len(rigs))
    found = [break_down(rig.step, device, rig.trainer.modules.teacher) for rig in rigs.values()]
    return [
        ProfileResult(phase.name, seconds, found[0])
        for phase, seconds in zip(rigs, found, strict=True)
    ]


def _inference(
    rigs: dict[Phase, Rig], builder: Builder, turns: Mapping[str, Any]
) -> tuple[list[InferenceResult], list[ProfileResult]]:
    """Of the last phase's model and the control's; the others make room first."""
    kept = {phase: rigs[phase] for phase in (RETRAINING, CONTROL)}
    rigs.clear()
    pruned, dense = (Served.of(rig, builder.device, builder.dtype) for rig in kept.values())
    logger.info("timing forward passes")
    times: list[InferenceResult] = []
    profiles: list[ProfileResult] = []
    for rows in builder.inference_rows:
        batch = builder.make_batch(rows)
        times.append(time_inference(pruned, dense, batch, rows, **turns))
        if builder.settings.profile:
            profiles += profile_inference(pruned, dense, batch, rows, builder.device)
    return times, profiles

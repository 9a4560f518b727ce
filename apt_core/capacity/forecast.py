"""Everything a plan says, as values that become JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from apt_core.capacity.fit import Fit, largest_rows, lowest_fitting
from apt_core.capacity.memory import Division, Memory, whole_bytes
from apt_core.capacity.phase import PlannedPhase, Setup, Speed, StepTime, phase_memory, phase_time

STAGES = (0, 1, 2, 3)


@dataclass(frozen=True)
class StageForecast:
    """A phase under one ZeRO stage."""

    stage: int
    memory: Memory
    """Of one worker."""
    time: StepTime | None
    """None: the device's rates are not known."""

    def to_json(self) -> dict[str, Any]:
        """Plain numbers: bytes and seconds."""
        time = None if self.time is None else {**asdict(self.time), "total_s": self.time.total_s}
        return {"stage": self.stage, "memory_bytes": self.memory.to_json(), "step": time}


@dataclass(frozen=True)
class PhaseForecast:
    """A phase under every stage."""

    phase: PlannedPhase
    stages: tuple[StageForecast, ...]

    def seconds(self, stage: int) -> float | None:
        """Of the whole phase; None where its steps or the rates are not known."""
        time = self.stages[stage].time
        if time is None or self.phase.num_steps is None:
            return None
        return time.total_s * self.phase.num_steps

    def to_json(self) -> dict[str, Any]:
        """Everything, under plain names."""
        structure = self.phase.network.structure
        return {
            "phase": self.phase.name,
            "meaning": self.phase.meaning,
            "num_steps": self.phase.num_steps,
            "hidden_size": structure.hidden_size,
            "layer_params": structure.num_params(),
            "adapter_params": structure.num_adapter_params(),
            "params": asdict(self.phase.params),
            "stages": [{**s.to_json(), "phase_s": self.seconds(s.stage)} for s in self.stages],
        }


@dataclass(frozen=True)
class Forecast:
    """A plan."""

    phases: tuple[PhaseForecast, ...]
    fits: tuple[Fit, ...]
    """One per stage."""
    available: int
    """Bytes of one device that may be used."""
    rows: int
    """Of the micro-batch that was asked for."""
    whole: int
    """Bytes that every worker needs to build the engine and to change shapes, see `whole_bytes`."""

    @property
    def can_start(self) -> bool:
        """Whether the whole model fits into one device, which no stage spares it."""
        return self.whole <= self.available

    @property
    def choice(self) -> Fit | None:
        """The lowest stage that takes the micro-batch; None: none does."""
        return lowest_fitting(self.fits, self.rows)

    def total_seconds(self, stage: int) -> float | None:
        """Of the whole training; None where the steps or the rates are not known."""
        seconds = [p.seconds(stage) for p in self.phases if p.phase.name != "first cut"]
        known = [s for s in seconds if s is not None]
        return sum(known) if len(known) == len(seconds) else None

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary."""
        return {
            "available_bytes": self.available,
            "micro_batch": self.rows,
            "whole_model_bytes": self.whole,
            "can_start": self.can_start,
            "phases": [phase.to_json() for phase in self.phases],
            "fits": [{"stage": f.stage, "largest_micro_batch": f.rows} for f in self.fits],
            "lowest_fitting_stage": None if self.choice is None else self.choice.stage,
        }


def make_forecast(
    phases: Sequence[PlannedPhase],
    setup: Setup,
    *,
    available: int,
    speed: Speed | None = None,
    efficiencies: Mapping[str, float] | None = None,
) -> Forecast:
    """Count every phase under every stage, and look for the largest micro-batches.

    Args:
        phases: of the training.
        setup: on what; its stage is ignored.
        available: bytes of one device that may be used.
        speed: of the devices; None: no times.
        efficiencies: of single phases, in place of the speed's own.

    Returns:
        The plan.
    """

    def under(stage: int) -> Setup:
        return replace(setup, division=Division(stage, setup.division.num_workers))

    def needed(stage: int, rows: int) -> int:
        at = under(stage)
        at = replace(at, rows=replace(at.rows, rows=rows))
        return max(phase_memory(phase, at).total for phase in phases)

    def time(phase: PlannedPhase, stage: int) -> StepTime | None:
        if speed is None:
            return None
        share = (efficiencies or {}).get(phase.name, speed.efficiency)
        return phase_time(phase, under(stage), replace(speed, efficiency=share))

    return Forecast(
        tuple(
            PhaseForecast(
                phase,
                tuple(
                    StageForecast(s, phase_memory(phase, under(s)), time(phase, s)) for s in STAGES
                ),
            )
            for phase in phases
        ),
        tuple(Fit(s, largest_rows(partial(needed, s), available)) for s in STAGES),
        available,
        setup.rows.rows,
        max(whole_bytes(phase.params, setup.width) for phase in phases),
    )

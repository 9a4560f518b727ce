"""What a benchmark found, with its aims, as values that become JSON."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from apt_core.bench.flops import Bound, Rates
from apt_core.bench.memory import PeakMemory
from apt_core.bench.phases import Phase
from apt_core.bench.profiling import Seconds
from apt_core.evaluator.turns import Spread

FORMAT = 1


@dataclass(frozen=True)
class Ratio:
    """A quotient and what it should be."""

    value: float
    aim: float | None = None
    higher_is_better: bool = False

    @property
    def is_missed(self) -> bool:
        """Whether there is an aim, and the value is on its wrong side."""
        if self.aim is None:
            return False
        return self.value < self.aim if self.higher_is_better else self.value > self.aim

    def to_json(self) -> dict[str, Any]:
        """Value, aim, and whether it is missed."""
        return {"value": self.value, "aim": self.aim, "missed": self.is_missed}


@dataclass(frozen=True)
class Timed:
    """Measured seconds beside the bound."""

    seconds: Spread
    bound: Bound

    @property
    def fraction(self) -> float:
        """Share of the bound that is reached: 1 would be as fast as the device's rates allow."""
        return self.bound.seconds / self.seconds.median

    def to_json(self) -> dict[str, Any]:
        """Both, and the fraction."""
        return {
            "seconds": asdict(self.seconds),
            "bound": asdict(self.bound),
            "fraction_of_bound": self.fraction,
        }


@dataclass(frozen=True)
class StepResult:
    """A training step of one phase."""

    phase: Phase
    timed: Timed
    ratio: Ratio
    """Its median over the control's."""
    ratio_of_fastest: float
    """Its shortest time over the control's."""
    density: float
    hidden_size: int
    adapter_params: int

    def to_json(self) -> dict[str, Any]:
        """Everything, under plain names."""
        return {
            "phase": self.phase.name,
            "meaning": self.phase.meaning,
            **self.timed.to_json(),
            "ratio_to_control": self.ratio.to_json(),
            "ratio_of_fastest": self.ratio_of_fastest,
            "density": self.density,
            "hidden_size": self.hidden_size,
            "adapter_params": self.adapter_params,
        }


@dataclass(frozen=True)
class MemoryResult:
    """Peak memory of one phase."""

    phase: Phase
    peak: PeakMemory
    ratio: Ratio
    """Its tensors over the control's."""

    def to_json(self) -> dict[str, Any]:
        """Everything, under plain names."""
        return {
            "phase": self.phase.name,
            **asdict(self.peak),
            "ratio_to_control": self.ratio.to_json(),
        }


@dataclass(frozen=True)
class SurgeryResult:
    """A change of shape: optimizer harvested, model operated on, engine rebuilt."""

    what: str
    seconds: Spread
    count: int


@dataclass(frozen=True)
class InferenceResult:
    """A forward pass of the merged model and of the dense one."""

    rows: int
    tokens: int
    pruned: Timed
    dense: Timed
    speedup: Ratio
    """The dense median over the merged model's."""

    def to_json(self) -> dict[str, Any]:
        """Everything, under plain names."""
        return {
            "rows": self.rows,
            "tokens": self.tokens,
            "pruned": self.pruned.to_json(),
            "dense": self.dense.to_json(),
            "rows_per_s": self.rows / self.pruned.seconds.median,
            "dense_rows_per_s": self.rows / self.dense.seconds.median,
            "speedup": self.speedup.to_json(),
        }


@dataclass(frozen=True)
class ProfileResult:
    """What a training step or a forward pass is made of."""

    what: str
    seconds: Seconds
    """By kind of work, while it is observed."""
    control: Seconds
    """The same of the control: the dense step, or the dense model's forward pass."""

    @property
    def over_control(self) -> Seconds:
        """By kind, in units of the whole control; they add up to the ratio of the two."""
        whole = sum(self.control.values())
        return {kind: seconds / whole for kind, seconds in self.seconds.items()}

    def to_json(self) -> dict[str, Any]:
        """Everything, under plain names."""
        return {
            "what": self.what,
            "seconds": dict(self.seconds),
            "over_control": dict(self.over_control),
        }


@dataclass(frozen=True)
class BenchReport:
    """One benchmark."""

    settings: Mapping[str, Any]
    environment: Mapping[str, Any]
    rates: Rates
    """Measured in the rounds of the training steps."""
    training: tuple[StepResult, ...]
    memory: tuple[MemoryResult, ...] = ()
    surgery: tuple[SurgeryResult, ...] = ()
    inference: tuple[InferenceResult, ...] = ()
    profile: tuple[ProfileResult, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def ratios(self) -> Iterator[tuple[str, Ratio]]:
        """Every quotient that may have an aim, with its name."""
        for step in self.training:
            yield f"step time, {step.phase.name}", step.ratio
        for memory in self.memory:
            yield f"peak memory, {memory.phase.name}", memory.ratio
        for point in self.inference:
            yield f"speed-up at {point.rows} x {point.tokens}", point.speedup

    def missed(self) -> tuple[str, ...]:
        """Names of the aims that were missed."""
        return tuple(name for name, ratio in self.ratios() if ratio.is_missed)

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary."""
        return {
            "format": FORMAT,
            "settings": dict(self.settings),
            "environment": dict(self.environment),
            "rates": asdict(self.rates),
            "training": [step.to_json() for step in self.training],
            "memory": [memory.to_json() for memory in self.memory],
            "surgery": [asdict(surgery) for surgery in self.surgery],
            "inference": [point.to_json() for point in self.inference],
            "profile": [result.to_json() for result in self.profile],
            "missed_aims": list(self.missed()),
            "notes": list(self.notes),
        }

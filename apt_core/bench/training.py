"""Times the training steps of all phases in turns, and their changes of shape."""

from collections.abc import Iterable, Mapping
from typing import Any

from apt_core.bench.device_rates import DeviceWork
from apt_core.bench.flops import Bound, Lesson, Network, Rates, Rows, step_bytes, step_flops
from apt_core.bench.networks import network_of
from apt_core.bench.phases import Phase
from apt_core.bench.report import Ratio, StepResult, SurgeryResult, Timed
from apt_core.bench.rig import Rig
from apt_core.distiller.self_distiller import SelfDistiller
from apt_core.evaluator.turns import Spread, Timer, times_in_turns

SNAPSHOT, CUT, DROP = "teacher taken", "cut and growth", "teacher dropped"


def time_steps(
    rigs: Mapping[Phase, Rig],
    work: DeviceWork,
    *,
    rows: Rows,
    density: float,
    warmup: int,
    repeats: int,
    timer: Timer,
) -> tuple[tuple[StepResult, ...], Rates]:
    """Time a step of every phase, round by round, the device's rates in the same rounds.

    Args:
        rigs: one per phase, the control first.
        work: what the rates are taken from.
        rows: what a step works on.
        density: of the phases after the cuts.
        warmup: rounds before the clock starts.
        repeats: rounds that count.
        timer: how a step is timed.

    Returns:
        A result per phase, and the rates.
    """
    calls = [*(rig.step for rig in rigs.values()), *work.calls]
    times = times_in_turns([calls], warmup=warmup, repeats=repeats, timer=timer)
    rates = work.rates(times[len(rigs) :])
    results: list[StepResult] = []
    for (phase, rig), taken in zip(rigs.items(), times, strict=False):
        spread = Spread.of(taken)
        control = results[0].timed.seconds if results else spread
        results.append(
            StepResult(
                phase,
                Timed(spread, step_bound(rig, rows, rates)),
                Ratio(spread.median / control.median, phase.aim_at(density, phase.time_aim)),
                ratio_of_fastest=spread.fastest / control.fastest,
                density=rig.density,
                hidden_size=rig.structure.hidden_size,
                adapter_params=rig.structure.num_adapter_params(),
            )
        )
    return tuple(results), rates


def step_bound(rig: Rig, rows: Rows, rates: Rates) -> Bound:
    """The shortest time that a rig's step could take on this device.

    Args:
        rig: where it stands.
        rows: what it works on.
        rates: of the device.

    Returns:
        The bound.
    """
    network, lesson = rig_network(rig, rows), _lesson(rig, rows)
    width = _bytes_per_weight(rig)
    return Bound.of(step_flops(network, rows, lesson), step_bytes(network, width, lesson), rates)


def rig_network(rig: Rig, rows: Rows) -> Network:
    """What of a rig's student is counted, without its teacher."""
    return network_of(
        rig.student,
        rig.structure,
        rig.model_map.head_kind,
        rows,
        all_learn=all(p.requires_grad for p in rig.student.parameters()),
    )


def _lesson(rig: Rig, rows: Rows) -> Lesson | None:
    modules, distiller = rig.trainer.modules, rig.trainer.distiller
    structure = rig.trainer.state.teacher_structure
    if modules.teacher is None or structure is None or not isinstance(distiller, SelfDistiller):
        return None
    teacher = network_of(modules.teacher, structure, rig.model_map.head_kind, rows, all_learn=False)
    settings = distiller.settings
    sampled = sum(min(settings.num_teacher_layers, len(s.layers)) for s in rig.model_map.stacks)
    return Lesson(teacher, sampled, settings.projection_rank)


def _bytes_per_weight(rig: Rig) -> int:
    return next(rig.student.parameters()).element_size()


def surgery_costs(rigs: Iterable[Rig]) -> tuple[SurgeryResult, ...]:
    """What the changes of shape cost that led the rigs to their phases.

    Args:
        rigs: all of them.

    Returns:
        One value per kind of change that happened.
    """
    entries = [entry for rig in rigs for entry in rig.surgeries]
    found = []
    for what in (SNAPSHOT, CUT, DROP):
        seconds = [entry["seconds"] for entry in entries if _kind(entry) == what]
        if seconds:
            found.append(SurgeryResult(what, Spread.of(seconds), len(seconds)))
    return tuple(found)


def _kind(entry: Mapping[str, Any]) -> str:
    if entry["pruned"] or not entry["teacher_changed"]:
        return CUT
    return SNAPSHOT if entry["has_teacher"] else DROP

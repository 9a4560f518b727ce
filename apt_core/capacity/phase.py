"""One phase of a training as the planner sees it, and what it takes."""

from dataclasses import dataclass, field, replace
from itertools import groupby

from apt_core.bench.flops import (
    Bound,
    Lesson,
    Network,
    Rates,
    Rows,
    forward_flops,
    step_bytes,
    step_flops,
)
from apt_core.capacity.kept import Habits, Kernels, Load, Pass, sub_block_load
from apt_core.capacity.loss import (
    Head,
    Teaching,
    head_load,
    layer_of,
    loss_bytes,
    teaching_bytes,
    teaching_load,
)
from apt_core.capacity.memory import Division, Memory, Params, worker_memory
from apt_core.capacity.traffic import step_traffic
from apt_core.capacity.walk import checkpointed


@dataclass(frozen=True)
class Embeddings:
    """The tables in front of the layers."""

    trained: int = 0
    """Parameters that learn and are no head's."""
    tied: int = 0
    """Parameters that learn and are a head's as well."""
    has_norm: bool = False


@dataclass(frozen=True)
class PlannedPhase:
    """A phase: a model, and how it is trained."""

    name: str
    meaning: str
    network: Network
    """Its head counts the tokens of one row."""
    params: Params
    habits: Habits
    head: Head
    embeddings: Embeddings = Embeddings()
    teaching: Teaching | None = None
    reads_salience: bool = False
    recomputes: bool = False
    """Gradient checkpointing."""
    num_steps: int | None = None
    """Optimizer steps; None: not known."""


@dataclass(frozen=True)
class Setup:
    """On what a phase is trained."""

    rows: Rows
    """Of a micro-batch."""
    width: int
    kernels: Kernels
    division: Division
    num_micro_batches: int = 1
    """Per optimizer step and worker."""


@dataclass(frozen=True)
class Speed:
    """What the devices and their links do, and the share of it that is believed."""

    rates: Rates
    link_bytes_per_s: float
    efficiency: float = field(default=1.0)


@dataclass(frozen=True)
class StepTime:
    """Seconds of one optimizer step."""

    compute_s: float
    communication_s: float
    limited_by: str
    """``matrix`` or ``memory``, see `Bound`."""

    @property
    def total_s(self) -> float:
        """Both, one after the other: DeepSpeed is told not to overlap them."""
        return self.compute_s + self.communication_s


def phase_memory(phase: PlannedPhase, setup: Setup) -> Memory:
    """Memory of one worker in a phase.

    Args:
        phase: what is trained.
        setup: on what.

    Returns:
        Its components.
    """
    how = Pass(
        setup.rows, setup.width, setup.kernels, phase.network.all_learn, phase.reads_salience
    )
    structure, is_taught = phase.network.structure, phase.teaching is not None
    loads = [_embedding_load(phase, how), *_layer_loads(phase, how)]
    forward = loss_bytes(phase.head, how)
    if phase.teaching is not None:
        loads.append(teaching_load(phase.teaching, structure, how))
        forward = teaching_bytes(phase.teaching, phase.head, structure, how)
    loads.append(head_load(phase.head, structure, phase.habits, how, is_taught=is_taught))
    return worker_memory(
        phase.params,
        loads,
        width=setup.width,
        division=setup.division,
        forward=forward,
        accumulates=setup.num_micro_batches > 1,
    )


def _layer_loads(phase: PlannedPhase, how: Pass) -> list[Load]:
    structure = phase.network.structure
    layers = groupby(structure.sub_blocks, key=lambda s: layer_of(s.name))
    loads: list[Load] = []
    for _, sub_blocks in layers:
        members = list(sub_blocks)
        parts = [sub_block_load(s, structure, phase.habits, how) for s in members]
        if phase.recomputes:
            tokens = how.rows.rows * how.rows.of(members[0].stream)
            parts = [checkpointed(parts, tokens * structure.hidden_size * how.width)]
        loads += parts
    return loads


def _embedding_load(phase: PlannedPhase, how: Pass) -> Load:
    """Tables that learn keep what stands between them and the first layer, and get gradients."""
    tables, hidden = phase.embeddings, phase.network.structure.hidden_size
    if tables.trained + tables.tied == 0:
        return Load(0)
    tokens = how.rows.rows * (how.rows.tokens + how.rows.target_tokens)
    noise = how.kernels.dropout_bytes or how.width
    kept = tokens * hidden * (how.width * tables.has_norm + noise * phase.habits.hidden_dropout)
    # A tied table's gradient is there already; the new one is added to it.
    return Load(kept, how.width * tables.tied, how.width * tables.trained)


def phase_time(phase: PlannedPhase, setup: Setup, speed: Speed) -> StepTime:
    """Seconds of one optimizer step.

    ``max(FLOPs / rate, bytes / bandwidth) / efficiency``, both as `apt_core.bench.flops` counts
    them, plus what is sent over the links.

    Args:
        phase: what is trained.
        setup: on what.
        speed: of the devices.

    Returns:
        The time.
    """
    rows = replace(setup.rows, rows=setup.rows.rows * setup.num_micro_batches)
    lesson = None
    if phase.teaching is not None:
        teaching = phase.teaching
        lesson = Lesson(teaching.teacher, teaching.num_layers, teaching.rank)
    flops = step_flops(phase.network, rows, lesson)
    if phase.recomputes:
        flops += forward_flops(replace(phase.network, head=()), rows)
    bound = Bound.of(flops, step_bytes(phase.network, setup.width, lesson), speed.rates)
    sent = step_traffic(phase.params, setup.width, setup.division, setup.num_micro_batches)
    return StepTime(
        bound.seconds / speed.efficiency,
        sent / (speed.link_bytes_per_s * speed.efficiency),
        bound.limited_by,
    )

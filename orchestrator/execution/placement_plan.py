"""The plan of a sweep's placement: refuses what can never fit, tells what runs beside what."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from apt_core.errors import ConfigError
from orchestrator.execution.placement import Node, place
from orchestrator.execution.trial import WorkerGroup


@dataclass(frozen=True)
class TrialKind:
    """Trials that need the same, and how a cluster holds them."""

    workers: WorkerGroup
    """The needs; of several memory estimates the largest."""
    num_trials: int
    at_a_time: int
    """How many of them run side by side while no others do; at least 1."""
    num_nodes: int
    """Over how many nodes the workers of the first one lie; 0: less memory is free than they are
    expected to take, and Ray decides."""


@dataclass(frozen=True)
class Placement:
    """How the trials of a sweep come to lie on a cluster."""

    nodes: tuple[Node, ...]
    kinds: tuple[TrialKind, ...]
    cap: int | None = None
    """`orchestration.max_concurrent_trials`."""

    def lines(self) -> Iterator[str]:
        """The plan in a few lines of text."""
        drivers = [node.name for node in self.nodes if node.holds_drivers]
        where = drivers[0] if len(drivers) == 1 else f"any of {len(drivers)} nodes"
        yield f"placement: {_has(self.nodes)}; drivers on {where}"
        for kind in self.kinds:
            yield f"  {_kind_line(kind)}"
        if len(self.kinds) > 1:
            yield "  each trial starts as soon as it fits beside those that run"
        if self.cap is not None:
            yield f"  never more than {self.cap} (orchestration.max_concurrent_trials)"


def plan_placement(
    nodes: Sequence[Node], groups: Sequence[WorkerGroup], cap: int | None = None
) -> Placement:
    """Plan the trials of a sweep on a cluster that is otherwise empty.

    Args:
        nodes: What there is.
        groups: The workers of every trial.
        cap: The user's own limit to trials at a time, or None.

    Returns:
        The plan.

    Raises:
        ConfigError: If a trial could never be placed, however long it waited. Only what is
            reserved counts here: CPUs, GPUs and `hardware.memory_per_worker_gib`. An estimate of
            memory refuses nothing.
    """
    kinds: dict[WorkerGroup, list[WorkerGroup]] = {}
    for group in groups:
        kinds.setdefault(group.reserved, []).append(group)
    problems = [problem for kind in kinds if (problem := _misfit(nodes, kind))]
    if problems:
        raise ConfigError("\n".join(problems))
    return Placement(tuple(nodes), tuple(_kind(nodes, kind, cap) for kind in kinds.values()), cap)


def _kind(nodes: Sequence[Node], groups: Sequence[WorkerGroup], cap: int | None) -> TrialKind:
    largest = max(groups, key=lambda group: group.worker_gib)
    first = place(nodes, largest)
    limit = len(groups) if cap is None else min(cap, len(groups))
    free, at_a_time = first, 0
    while free is not None and at_a_time < limit:
        at_a_time += 1
        free = place(free, largest)
    return TrialKind(largest, len(groups), max(1, at_a_time), _num_used(nodes, first))


def _num_used(nodes: Sequence[Node], after: Sequence[Node] | None) -> int:
    """Nodes that hold workers: every worker takes CPUs, which drivers do not."""
    if after is None:
        return 0
    return sum(one.cpus != other.cpus for one, other in zip(nodes, after, strict=True))


def _misfit(nodes: Sequence[Node], group: WorkerGroup) -> str:
    """Why these workers can never be placed, with the numbers; empty if they can."""
    reserved_gib = group.memory_per_worker_gib or 0.0
    rooms = [node.room_for(group, reserved_gib) for node in nodes]
    if sum(rooms) >= group.num_workers:
        return ""
    none = Node("none", cpus=0, gpus=(), memory_gib=0)
    largest = max(nodes, key=lambda n: (len(n.gpus), n.cpus, n.memory_gib), default=none)
    if any(rooms):
        wrong = f"only {sum(rooms)} of them can be placed"
        todo = "lower hardware.num_workers or what each worker reserves"
    else:
        wrong = "no node can hold even one of them"
        todo = (
            "lower hardware.cpus_per_worker, hardware.gpus_per_worker or "
            "hardware.memory_per_worker_gib"
        )
    return (
        f"hardware: a trial asks for {_needs(group)}, and {wrong}; the largest node, "
        f"{largest.name}, has {_amounts(largest)}, all {_has(nodes)}; {todo}, or set "
        "orchestration.address to a larger cluster"
    )


def _has(nodes: Sequence[Node]) -> str:
    total = Node(
        "",
        sum(node.cpus for node in nodes),
        tuple(share for node in nodes for share in node.gpus),
        sum(node.memory_gib for node in nodes),
    )
    return f"{_counted(len(nodes), 'node')} with {_amounts(total)}"


def _amounts(node: Node) -> str:
    cpus, gpus = _counted(node.cpus, "CPU"), _counted(len(node.gpus), "GPU")
    return f"{cpus}, {gpus}, {node.memory_gib:.1f} GiB"


def _needs(group: WorkerGroup) -> str:
    parts = [_counted(group.cpus_per_worker, "CPU")]
    if group.gpus_per_worker:
        parts.append(_counted(group.gpus_per_worker, "GPU"))
    if group.memory_per_worker_gib:
        parts.append(f"{group.memory_per_worker_gib:g} GiB")
    return f"{_counted(group.num_workers, 'worker')} with {', '.join(parts)} each"


def _kind_line(kind: TrialKind) -> str:
    group = kind.workers
    expected = "" if group.memory_per_worker_gib else f" ({group.worker_gib:.1f} GiB expected)"
    where = {0: ", on a node with less than that", 1: ""}.get(
        kind.num_nodes, f", over {kind.num_nodes} nodes"
    )
    trials = _counted(kind.num_trials, "trial")
    return f"{trials} of {_needs(group)}{expected}: {kind.at_a_time} at a time{where}"


def _counted(count: float, thing: str) -> str:
    return f"{count:g} {thing}" if count == 1 else f"{count:g} {thing}s"

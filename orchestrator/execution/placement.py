"""Which trials fit side by side on which nodes: pure arithmetic, filled node by node.

Two rules keep a sweep from waiting for itself. A trial is started only when all its workers fit
beside those that run, so none holds half of what it needs; and when nothing runs, the next trial
is started whatever the numbers say, and Ray waits for the room.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from orchestrator.execution.trial import WorkerGroup

DRIVER_GIB = 1.0
"""What one trial costs besides its workers: the trial driver, Ray's controller and its helpers."""
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Node:
    """What one machine of the cluster has free."""

    name: str
    cpus: float
    gpus: tuple[float, ...]
    """The free share of each GPU, 1 at most: a share of a GPU cannot lie on two of them."""
    memory_gib: float
    holds_drivers: bool = True
    """Whether drivers of trials may sit here."""

    def room_for(self, group: WorkerGroup, worker_gib: float) -> int:
        """How many workers of `group`, each with so much memory, still fit here."""
        limits = [self.cpus / group.cpus_per_worker]
        if worker_gib:
            limits.append(self.memory_gib / worker_gib)
        if group.gpus_per_worker:
            limits.append(self._room_on_gpus(group.gpus_per_worker))
        return int(min(limits) + _ROUNDING)

    def without(self, group: WorkerGroup, num_workers: int) -> "Node":
        """What is left here once so many workers of `group` have been placed."""
        return replace(
            self,
            cpus=self.cpus - num_workers * group.cpus_per_worker,
            gpus=_take_gpus(self.gpus, group.gpus_per_worker, num_workers),
            memory_gib=self.memory_gib - num_workers * group.worker_gib,
        )

    def _room_on_gpus(self, per_worker: float) -> int:
        if per_worker >= 1:
            return int(sum(free >= 1 - _ROUNDING for free in self.gpus) / per_worker + _ROUNDING)
        return sum(int(free / per_worker + _ROUNDING) for free in self.gpus)


def place(nodes: Sequence[Node], group: WorkerGroup) -> tuple[Node, ...] | None:
    """Place one more trial: on one node if one can hold it, else on as few as possible.

    Args:
        nodes: What is free.
        group: The trial's workers.

    Returns:
        What is free afterwards, in the same order; None if the trial does not fit now.
    """
    free = _with_driver(nodes)
    missing = group.num_workers
    while free is not None and missing:
        rooms = [node.room_for(group, group.worker_gib) for node in free]
        best = max(range(len(free)), key=lambda i: _preference(free[i], rooms[i], missing, group))
        taken = min(rooms[best], missing)
        if taken <= 0:
            return None
        free[best] = free[best].without(group, taken)
        missing -= taken
    return None if free is None else tuple(free)


def next_to_start(
    nodes: Sequence[Node],
    running: Sequence[WorkerGroup],
    waiting: Sequence[WorkerGroup],
    cap: int | None = None,
) -> int | None:
    """Which waiting trial may start beside those that run.

    Args:
        nodes: The cluster, as if nothing ran on it.
        running: The trials that run, in the order in which they started.
        waiting: The others, in the order in which they should start.
        cap: Trials at a time at most.

    Returns:
        Index into `waiting`, the first that fits; None: none for now. With nothing running, the
        first of all: waiting for ourselves would have no end, and Ray may get another node.
    """
    if cap is not None and len(running) >= cap:
        return None
    free: tuple[Node, ...] | None = tuple(nodes)
    for group in running:
        free = None if free is None else place(free, group)
    fits: dict[WorkerGroup, bool] = {}
    for i, group in enumerate(waiting):
        if group not in fits:
            fits[group] = free is not None and place(free, group) is not None
        if fits[group]:
            return i
    return 0 if waiting and not running else None


def side_by_side(
    nodes: Sequence[Node], waiting: Sequence[WorkerGroup], cap: int | None = None
) -> int:
    """How many trials run at first: as many as `next_to_start` starts before one has ended."""
    running: list[WorkerGroup] = []
    left = list(waiting)
    while (i := next_to_start(nodes, running, left, cap)) is not None:
        running.append(left.pop(i))
    return len(running)


def _preference(node: Node, room: int, missing: int, group: WorkerGroup) -> tuple[bool, int, int]:
    """The tightest node that holds all missing workers, else the one that holds most of them.

    Trials without GPUs leave nodes with GPUs to others as long as they can.
    """
    holds_all = room >= missing
    wasted_gpus = len(node.gpus) if holds_all and not group.gpus_per_worker else 0
    return holds_all, -wasted_gpus, -room if holds_all else room


def _with_driver(nodes: Sequence[Node]) -> list[Node] | None:
    """What is free beside one more trial driver."""
    homes = [i for i, node in enumerate(nodes) if node.holds_drivers]
    home = max(homes, key=lambda i: nodes[i].memory_gib, default=None)
    if home is None or nodes[home].memory_gib < DRIVER_GIB - _ROUNDING:
        return None
    free = list(nodes)
    free[home] = replace(free[home], memory_gib=free[home].memory_gib - DRIVER_GIB)
    return free


def _take_gpus(free: tuple[float, ...], per_worker: float, num_workers: int) -> tuple[float, ...]:
    """Whole GPUs in their order; a share goes to the fullest GPU that has it, as in Ray."""
    shares = list(free)
    for _ in range(num_workers if per_worker else 0):
        if per_worker >= 1:
            whole = [i for i, share in enumerate(shares) if share >= 1 - _ROUNDING]
            for i in whole[: round(per_worker)]:
                shares[i] = 0.0
        else:
            fitting = [i for i, share in enumerate(shares) if share >= per_worker - _ROUNDING]
            shares[min(fitting, key=lambda i: shares[i])] -= per_worker
    return tuple(shares)

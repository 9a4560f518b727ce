"""Invented clusters, and what fits on them."""

import itertools
import random

import pytest

from orchestrator.execution.placement import Node, next_to_start, place, side_by_side
from orchestrator.execution.trial import WorkerGroup

ONE = WorkerGroup()
WIDE = WorkerGroup(num_workers=4, gpus_per_worker=1)
SHARED = WorkerGroup(gpus_per_worker=0.25)


def node(
    name: str, cpus: float, num_gpus: int = 0, memory_gib: float = 1000, *, drivers: bool = True
) -> Node:
    return Node(name, cpus, (1.0,) * num_gpus, memory_gib, holds_drivers=drivers)


def how_many(nodes: list[Node], group: WorkerGroup) -> int:
    count, free = 0, place(nodes, group)
    while free is not None:
        count, free = count + 1, place(free, group)
    return count


def test_cpus_bound_the_trials() -> None:
    assert how_many([node("a", 8)], WorkerGroup(num_workers=2)) == 4


def test_a_worker_lies_on_one_node_whatever_the_total_is() -> None:
    nodes = [node("a", 3), node("b", 3), node("c", 3)]
    two_cpus = WorkerGroup(cpus_per_worker=2)
    assert how_many(nodes, two_cpus) == 3  # not 9 / 2
    assert how_many(nodes, WorkerGroup(num_workers=2, cpus_per_worker=2)) == 1
    assert how_many(nodes, WorkerGroup(cpus_per_worker=4)) == 0


def test_workers_of_one_trial_span_nodes_only_where_they_must() -> None:
    nodes = [node("a", 4), node("b", 2)]
    after = place(nodes, WorkerGroup(num_workers=2))
    assert after is not None
    assert [n.cpus for n in after] == [4, 0]  # the tightest node that holds both
    spread = place(nodes, WorkerGroup(num_workers=5))
    assert spread is not None
    assert [n.cpus for n in spread] == [0, 1]


@pytest.mark.parametrize(
    ("share", "num_gpus", "trials"),
    [(0.25, 2, 8), (0.5, 1, 2), (0.6, 2, 2), (0.3, 3, 9), (1, 4, 4), (2, 3, 1)],
)
def test_a_share_of_a_gpu_cannot_lie_on_two(share: float, num_gpus: int, trials: int) -> None:
    # 2 GPUs / 0.6 would be 3, and 3 GPUs / 0.3 would be 10.
    assert how_many([node("a", 64, num_gpus)], WorkerGroup(gpus_per_worker=share)) == trials


def test_shares_fill_a_gpu_before_they_break_the_next() -> None:
    after = place([node("a", 8, 2)], WorkerGroup(num_workers=3, gpus_per_worker=0.25))
    assert after is not None
    assert sorted(after[0].gpus) == [0.25, 1.0]
    assert place(after, WorkerGroup(gpus_per_worker=1)) is not None


def test_memory_counts_workers_and_drivers() -> None:
    assert how_many([node("a", 64, memory_gib=7)], ONE) == 3  # 1 GiB each, and 1 for the driver
    assert how_many([node("a", 64, memory_gib=20)], WorkerGroup(expected_gib=4)) == 4
    assert how_many([node("a", 64, memory_gib=20)], WorkerGroup(memory_per_worker_gib=9)) == 2


def test_drivers_take_memory_where_drivers_sit_and_nowhere_else() -> None:
    head, worker = node("head", 1, memory_gib=2), node("w", 64, memory_gib=64, drivers=False)
    assert how_many([head, worker], WorkerGroup(expected_gib=8)) == 2  # two drivers fill the head
    assert how_many([worker], ONE) == 0


def test_trials_without_gpus_leave_the_nodes_with_gpus_to_others() -> None:
    after = place([node("gpus", 2, 2), node("cpus", 16)], ONE)
    assert after is not None
    assert [n.cpus for n in after] == [2, 15]


def test_the_first_that_fits_starts_and_none_that_does_not() -> None:
    nodes = [node("a", 8, 4)]
    assert next_to_start(nodes, [], [WIDE, ONE]) == 0
    assert next_to_start(nodes, [WIDE], [WIDE, SHARED, ONE]) == 2  # only CPUs are left
    assert next_to_start(nodes, [SHARED], [WIDE]) is None
    assert next_to_start(nodes, [WIDE], []) is None


def test_the_users_limit_wins() -> None:
    assert next_to_start([node("a", 8)], [ONE], [ONE], cap=2) == 0
    assert next_to_start([node("a", 8)], [ONE, ONE], [ONE], cap=2) is None


@pytest.mark.parametrize(("cap", "slots"), [(None, 3), (2, 2)])
def test_slots_are_the_trials_that_start_before_one_has_ended(cap: int | None, slots: int) -> None:
    two_cpus = WorkerGroup(cpus_per_worker=2)
    assert side_by_side([node("a", 4)], [two_cpus, ONE, two_cpus, ONE], cap) == slots


def test_slots_are_no_more_than_there_are_trials() -> None:
    assert side_by_side([node("a", 64)], [ONE, ONE]) == 2
    assert side_by_side([node("a", 1)], [WIDE, ONE]) == 1


def test_when_nothing_runs_the_next_one_starts_whatever_the_numbers_say() -> None:
    assert next_to_start([node("a", 2, memory_gib=0.5)], [], [ONE]) == 0
    assert next_to_start([], [], [WIDE]) == 0  # the nodes are gone: Ray waits for others
    assert next_to_start([], [ONE], [WIDE]) is None


def test_a_node_that_is_lost_stops_new_trials_until_others_end() -> None:
    running = [ONE] * 4
    assert next_to_start([node("a", 2)], running, [ONE]) is None
    assert next_to_start([node("a", 2)], running[:1], [ONE]) == 0


@pytest.mark.parametrize("seed", range(20))
def test_a_mixed_grid_on_a_mixed_cluster_ends_and_is_never_oversubscribed(seed: int) -> None:
    rng = random.Random(seed)
    nodes = [
        node(str(i), rng.randint(2, 8), rng.choice([0, 0, 1, 4]), rng.randint(8, 64))
        for i in range(rng.randint(1, 5))
    ]
    kinds = [
        WorkerGroup(n, cpus, gpus)
        for n, cpus, gpus in itertools.product((1, 2, 4), (1, 2), (0, 0.3, 0.5, 1, 2))
    ]
    waiting = [kind for kind in kinds if place(nodes, kind) is not None]
    rng.shuffle(waiting)
    running: list[WorkerGroup] = []
    for _ in range(10 * len(waiting)):
        index = next_to_start(nodes, running, waiting)
        if index is not None:
            running.append(waiting.pop(index))
        elif running:
            running.pop(rng.randrange(len(running)))
        assert_fits_in_total(nodes, running)
        if not running and not waiting:
            return
    raise AssertionError("it does not end")


def assert_fits_in_total(nodes: list[Node], running: list[WorkerGroup]) -> None:
    """The one bound that needs no packing."""
    for need, there in (
        (sum(g.num_workers * g.cpus_per_worker for g in running), sum(n.cpus for n in nodes)),
        (sum(g.num_workers * g.gpus_per_worker for g in running), sum(len(n.gpus) for n in nodes)),
        (
            sum(1 + g.num_workers * g.worker_gib for g in running),
            sum(n.memory_gib for n in nodes),
        ),
    ):
        assert need <= there + 1e-6

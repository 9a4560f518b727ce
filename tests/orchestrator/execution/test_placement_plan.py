import pytest

from apt_core.errors import ConfigError
from orchestrator.execution.placement import Node
from orchestrator.execution.placement_plan import plan_placement
from orchestrator.execution.trial import WorkerGroup

HEAD = Node("head", cpus=4, gpus=(), memory_gib=16)
GPUS = Node("gpus", cpus=16, gpus=(1.0, 1.0), memory_gib=64, holds_drivers=False)
CLUSTER = [HEAD, GPUS, GPUS]


def test_the_plan_is_told_in_a_few_lines() -> None:
    groups = [WorkerGroup(gpus_per_worker=0.5, expected_gib=1.5)] * 12
    groups += [WorkerGroup(num_workers=4, cpus_per_worker=2, gpus_per_worker=1)]
    groups += [WorkerGroup(gpus_per_worker=0.5, expected_gib=3.0, num_threads=2)]
    assert list(plan_placement(CLUSTER, groups).lines()) == [
        "placement: 3 nodes with 36 CPUs, 4 GPUs, 144.0 GiB; drivers on head",
        "  13 trials of 1 worker with 1 CPU, 0.5 GPUs each (3.0 GiB expected): 8 at a time",
        "  1 trial of 4 workers with 2 CPUs, 1 GPU each (1.0 GiB expected): 1 at a time, over "
        "2 nodes",
        "  each trial starts as soon as it fits beside those that run",
    ]


def test_the_users_limit_is_told() -> None:
    lines = list(plan_placement([HEAD, HEAD], [WorkerGroup()] * 9, cap=3).lines())
    assert lines == [
        "placement: 2 nodes with 8 CPUs, 0 GPUs, 32.0 GiB; drivers on any of 2 nodes",
        "  9 trials of 1 worker with 1 CPU each (1.0 GiB expected): 3 at a time",
        "  never more than 3 (orchestration.max_concurrent_trials)",
    ]


def test_there_are_no_more_at_a_time_than_there_are() -> None:
    (kind,) = plan_placement([GPUS, HEAD], [WorkerGroup()] * 3).kinds
    assert (kind.num_trials, kind.at_a_time, kind.num_nodes) == (3, 3, 1)


def test_an_estimate_of_memory_refuses_nothing_and_is_told() -> None:
    placement = plan_placement([HEAD], [WorkerGroup(expected_gib=99)] * 2)
    assert placement.kinds[0].at_a_time == 1
    assert list(placement.lines())[1] == (
        "  2 trials of 1 worker with 1 CPU each (99.0 GiB expected): 1 at a time, on a node "
        "with less than that"
    )


@pytest.mark.parametrize(
    ("group", "asked"),
    [
        (WorkerGroup(cpus_per_worker=32), "1 worker with 32 CPUs each"),
        (WorkerGroup(gpus_per_worker=4), "1 worker with 1 CPU, 4 GPUs each"),
        (
            WorkerGroup(num_workers=2, memory_per_worker_gib=100),
            "2 workers with 1 CPU, 100 GiB each",
        ),
        (
            # Each of the two is there, but never both on one node.
            WorkerGroup(cpus_per_worker=17, gpus_per_worker=1),
            "1 worker with 17 CPUs, 1 GPU each",
        ),
    ],
)
def test_a_worker_that_fits_no_node_is_refused_with_the_numbers(
    group: WorkerGroup, asked: str
) -> None:
    cluster = [Node("cpus", 24, (), 32), GPUS]
    with pytest.raises(ConfigError) as caught:
        plan_placement(cluster, [WorkerGroup(), group])
    assert str(caught.value) == (
        f"hardware: a trial asks for {asked}, and no node can hold even one of them; the largest "
        "node, gpus, has 16 CPUs, 2 GPUs, 64.0 GiB, all 2 nodes with 40 CPUs, 2 GPUs, 96.0 GiB; "
        "lower hardware.cpus_per_worker, hardware.gpus_per_worker or "
        "hardware.memory_per_worker_gib, or set orchestration.address to a larger cluster"
    )


def test_more_workers_than_can_be_placed_are_refused_although_the_totals_would_do() -> None:
    group = WorkerGroup(num_workers=5, cpus_per_worker=6)  # 30 of 36 CPUs
    with pytest.raises(ConfigError, match="5 workers with 6 CPUs each, and only 4 of them can be"):
        plan_placement(CLUSTER, [group])


def test_every_misfit_is_told_at_once_and_once() -> None:
    misfits = [WorkerGroup(cpus_per_worker=99)] * 3 + [WorkerGroup(gpus_per_worker=8)]
    with pytest.raises(ConfigError) as caught:
        plan_placement(CLUSTER, misfits)
    assert len(str(caught.value).splitlines()) == 2


def test_nothing_to_place_is_no_error_and_no_node_is_one() -> None:
    assert plan_placement([], []).kinds == ()
    with pytest.raises(ConfigError, match="all 0 nodes with 0 CPUs, 0 GPUs"):
        plan_placement([], [WorkerGroup()])

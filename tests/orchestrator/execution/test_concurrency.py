import pytest

from apt_core.errors import ConfigError
from orchestrator.execution.concurrency import ClusterResources, concurrent_trials
from orchestrator.execution.trial import WorkerGroup


def test_cpus_bound_the_trials() -> None:
    cluster = ClusterResources(cpus=8, gpus=0, memory_gib=100)
    assert concurrent_trials(cluster, [WorkerGroup(num_workers=2, cpus_per_worker=1)]) == 4


def test_gpus_bound_the_trials() -> None:
    cluster = ClusterResources(cpus=64, gpus=4, memory_gib=1000)
    assert concurrent_trials(cluster, [WorkerGroup(num_workers=1, gpus_per_worker=1)]) == 4
    assert concurrent_trials(cluster, [WorkerGroup(num_workers=1, gpus_per_worker=0.5)]) == 8


def test_memory_bounds_the_trials_at_two_gib_each() -> None:
    cluster = ClusterResources(cpus=64, gpus=0, memory_gib=7)
    assert concurrent_trials(cluster, [WorkerGroup()]) == 3


def test_the_most_demanding_trial_decides_and_the_cap_wins() -> None:
    cluster = ClusterResources(cpus=8, gpus=0, memory_gib=100)
    groups = [WorkerGroup(), WorkerGroup(num_workers=4)]
    assert concurrent_trials(cluster, groups) == 2
    assert concurrent_trials(cluster, groups, cap=1) == 1


def test_little_memory_still_lets_one_trial_run() -> None:
    assert concurrent_trials(ClusterResources(2, 0, 0.5), [WorkerGroup()]) == 1


def test_a_trial_that_never_fits_is_the_users_error() -> None:
    cluster = ClusterResources(cpus=2, gpus=0, memory_gib=100)
    with pytest.raises(ConfigError, match=r"needs num_workers \* cpus_per_worker = 4 CPUs"):
        concurrent_trials(cluster, [WorkerGroup(num_workers=4)])
    with pytest.raises(ConfigError, match=r"lower hardware.num_workers or hardware.gpus_per"):
        concurrent_trials(cluster, [WorkerGroup(gpus_per_worker=1)])

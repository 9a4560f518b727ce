"""How many trials may run side by side: pure arithmetic on what there is and what they need."""

from collections.abc import Iterable
from dataclasses import dataclass

from apt_core.errors import ConfigError
from orchestrator.execution.trial import WorkerGroup

DRIVER_GIB = 1.0
"""What one trial costs besides its workers: the trial driver, Ray's controller and its helpers."""
WORKER_GIB = 1.0
"""What one worker costs at the least: torch, transformers and DeepSpeed imported, a small model."""


@dataclass(frozen=True)
class ClusterResources:
    """What a cluster offers in total."""

    cpus: float
    gpus: float
    memory_gib: float


def concurrent_trials(
    cluster: ClusterResources, groups: Iterable[WorkerGroup], cap: int | None = None
) -> int:
    """How many trials fit at the same time, for the most demanding of `groups`.

    Args:
        cluster: What there is.
        groups: The worker groups of the trials.
        cap: The user's own limit (`orchestration.max_concurrent_trials`), or None.

    Returns:
        At least 1.

    Raises:
        ConfigError: If not even one trial fits, however long it waits.
    """
    limits = [_fits(cluster, group) for group in groups]
    if cap is not None:
        limits.append(cap)
    return max(1, min(limits, default=1))


def _fits(cluster: ClusterResources, group: WorkerGroup) -> int:
    """How many trials with this worker group fit on CPUs, GPUs and memory."""
    cpus = group.num_workers * group.cpus_per_worker
    gpus = group.num_workers * group.gpus_per_worker
    _require("CPUs", "cpus_per_worker", cpus, cluster.cpus)
    _require("GPUs", "gpus_per_worker", gpus, cluster.gpus)
    memory_gib = DRIVER_GIB + group.num_workers * WORKER_GIB
    by_memory = int(cluster.memory_gib / memory_gib)
    by_cpu = int(cluster.cpus / cpus + 1e-6) if cpus else by_memory
    by_gpu = int(cluster.gpus / gpus + 1e-6) if gpus else by_memory
    return min(by_memory, by_cpu, by_gpu)


def _require(what: str, field: str, needed: float, available: float) -> None:
    if needed > available + 1e-6:
        raise ConfigError(
            f"hardware: one trial needs num_workers * {field} = {needed:g} {what}, but the cluster "
            f"has {available:g}; lower hardware.num_workers or hardware.{field}, or set "
            "orchestration.address to a larger cluster"
        )

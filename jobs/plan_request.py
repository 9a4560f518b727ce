"""What `aptune plan` is asked for, checked; loads without torch."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apt_core.capacity.devices import DEVICES, EFFICIENCY, GIB, NODE_LINK_BYTES_PER_S
from apt_core.capacity.shapes import SHAPES
from apt_core.config import ExperimentConfig
from apt_core.errors import ConfigError
from orchestrator.model_files import locate_model

CPU_DEVICE = "cpu"


@dataclass(frozen=True)
class Cluster:
    """On what is trained."""

    device: str
    num_nodes: int = 1
    gpus_per_node: int = 1
    memory_gib: float | None = None
    """Of one device; None: the data sheet's."""

    @property
    def num_workers(self) -> int:
        """One per device."""
        return self.num_nodes * self.gpus_per_node

    @property
    def is_cpu(self) -> bool:
        """Whether kernels are a CPU's; there is no data sheet then."""
        return self.device == CPU_DEVICE

    @property
    def memory_bytes(self) -> int:
        """Of one device."""
        if self.memory_gib is not None:
            return round(self.memory_gib * GIB)
        return DEVICES[self.device].memory_bytes

    @property
    def link_bytes_per_s(self) -> float:
        """Of the slowest link between two workers."""
        if self.num_nodes > 1 or self.is_cpu:
            return NODE_LINK_BYTES_PER_S
        return DEVICES[self.device].link_bytes_per_s


@dataclass(frozen=True)
class Sizes:
    """What one step works on; None: as configured."""

    batch_size: int | None = None
    """Rows per optimizer step, all workers together."""
    micro_batch: int | None = None
    """Rows that one worker works on at a time."""
    seq_len: int | None = None


@dataclass(frozen=True)
class Constants:
    """What the times are made from."""

    flops_per_s: float
    bytes_per_s: float
    efficiency: float
    """Where a phase has none of its own."""
    source: str
    by_phase: Mapping[str, float] = field(default_factory=dict)
    """Shares of the bound that a benchmark has measured."""


@dataclass(frozen=True)
class PlanRequest:
    """A question that can be answered."""

    config: ExperimentConfig
    model: str
    cluster: Cluster
    micro_batch: int
    num_micro_batches: int
    seq_len: int
    target_len: int
    constants: Constants | None
    """None: no times, because nobody knows the device's rates."""


def make_request(
    config: ExperimentConfig,
    model: str | None,
    *,
    cluster: Cluster,
    sizes: Sizes,
    bench: Path | None = None,
    efficiency: float | None = None,
) -> PlanRequest:
    """Check what was asked for.

    Args:
        config: the training.
        model: named shape, folder or hub id; None: the configuration's.
        cluster: on what.
        sizes: of a step.
        bench: a ``bench.json`` to take rates from.
        efficiency: share of the rates; None: the benchmark's, or `EFFICIENCY`.

    Returns:
        The request.

    Raises:
        ConfigError: With the option that is wrong.
    """
    _check_device(cluster)
    micro_batch, count = _micro_batches(config, cluster, sizes)
    return PlanRequest(
        config=config,
        model=_known_model(model or config.model.path),
        cluster=cluster,
        micro_batch=micro_batch,
        num_micro_batches=count,
        seq_len=sizes.seq_len or config.data.max_length,
        target_len=config.data.max_target_length,
        constants=_constants(config, cluster, bench, efficiency),
    )


def _check_device(cluster: Cluster) -> None:
    known = [*DEVICES, CPU_DEVICE]
    if cluster.device not in known:
        raise ConfigError(
            f"--device: no data sheet of {cluster.device!r} is known; choose one of "
            f"{', '.join(known)}, and give --memory and --bench for another device"
        )
    if cluster.is_cpu and cluster.memory_gib is None:
        raise ConfigError("--memory: a CPU has no data sheet; say how many GiB one worker may take")


def _micro_batches(config: ExperimentConfig, cluster: Cluster, sizes: Sizes) -> tuple[int, int]:
    """Rows of a micro-batch, and how many of them a worker has per step."""
    batch_size, workers = sizes.batch_size or config.training.batch_size, cluster.num_workers
    if batch_size % workers:
        raise ConfigError(
            f"--batch-size: {batch_size} rows per step cannot be divided among {workers} workers; "
            f"give a multiple of {workers}"
        )
    share = batch_size // workers
    micro_batch = sizes.micro_batch or min(config.training.micro_batch_size or share, share)
    if share % micro_batch:
        raise ConfigError(
            f"--micro-batch: a worker's {share} rows per step are no multiple of {micro_batch}; "
            "give a divisor, or another --batch-size"
        )
    return micro_batch, share // micro_batch


def _known_model(model: str) -> str:
    """A name that can be resolved: what looks like a folder must be one."""
    if model in SHAPES:
        return model
    folder = locate_model(model)
    if folder is not None and not (folder / "config.json").is_file():
        raise ConfigError(
            f"--model: {folder / 'config.json'} does not exist; correct the path, give a hub id, "
            f"or one of {', '.join(SHAPES)}"
        )
    return model


def _constants(
    config: ExperimentConfig, cluster: Cluster, bench: Path | None, efficiency: float | None
) -> Constants | None:
    if bench is not None:
        return _measured(bench, efficiency)
    if cluster.is_cpu:
        return None
    device = DEVICES[cluster.device]
    share = EFFICIENCY if efficiency is None else efficiency
    source = f"data sheet of {cluster.device}, of which {share:.0%} are assumed to be reached"
    rate = device.flops_per_s[config.hardware.precision]
    return Constants(rate, device.bytes_per_s, share, source)


def _measured(file: Path, efficiency: float | None) -> Constants:
    """The rates of a benchmark, and the share of its bound that every phase reached."""
    try:
        found: Any = json.loads(file.read_text(encoding="utf-8"))
        rates = found["rates"]
        flops, num_bytes = float(rates["flops_per_s"]), float(rates["bytes_per_s"])
        shares = {str(s["phase"]): float(s["fraction_of_bound"]) for s in found["training"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"--bench: {file} is no result of aptune bench ({type(error).__name__}: {error}); give "
            "the bench.json that it wrote"
        ) from error
    if efficiency is not None:
        source = f"rates measured in {file.name}, of which {efficiency:.0%} are assumed"
        return Constants(flops, num_bytes, efficiency, source)
    source = f"rates, and the share of them that a step reached, measured in {file.name}"
    return Constants(flops, num_bytes, min(shares.values()), source, shares)

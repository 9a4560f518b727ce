"""A trial as a frozen value that travels from the driver to its workers as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

DEFAULT_ENTRY = "apt_core.trainer.build:run_training"
LEAST_GIB = 1.0
"""What one worker costs at the least: torch, transformers and DeepSpeed imported, a small model."""


@dataclass(frozen=True)
class WorkerGroup:
    """What the workers of one trial need."""

    num_workers: int = 1
    cpus_per_worker: float = 1.0
    gpus_per_worker: float = 0.0
    num_threads: int | None = None
    """Threads that torch may use inside one worker; None: as many as the worker has CPUs."""
    memory_per_worker_gib: float | None = None
    """Memory reserved for each worker; None: none, and what is expected is counted."""
    expected_gib: float | None = None
    """An estimate of one worker's memory on its node, or None."""
    collective_timeout_s: int = 1800
    """How long one worker waits for the others before the training counts as hung."""

    @property
    def worker_gib(self) -> float:
        """The memory to count for one worker: what is reserved, else what is expected."""
        return self.memory_per_worker_gib or max(LEAST_GIB, self.expected_gib or 0.0)

    @property
    def reserved(self) -> "WorkerGroup":
        """The same group reduced to what the cluster reserves for it."""
        return replace(self, num_threads=None, expected_gib=None, collective_timeout_s=0)

    @property
    def threads(self) -> int:
        """The resolved number of threads of one worker."""
        return self.num_threads or max(1, int(self.cpus_per_worker))

    @property
    def backend(self) -> str:
        """``nccl`` where every worker has a GPU of its own, ``gloo`` otherwise."""
        return "nccl" if self.gpus_per_worker >= 1 else "gloo"


@dataclass(frozen=True)
class TrialSpec:
    """One cell of a sweep, ready to run; ``run_dir/config.json`` will hold its configuration."""

    run_id: str
    label: str
    """What tables call it, e.g. ``apt 0.6 w/o_Ds seed 1``."""
    run_dir: Path
    total_steps: int
    config: Mapping[str, Any]
    """The resolved configuration as plain JSON data."""
    command: str
    """The command that reruns exactly this trial."""
    workers: WorkerGroup = WorkerGroup()
    entry: str = DEFAULT_ENTRY
    """``module:function`` that trains; called like `apt_core.trainer.build.run_training`."""
    needs: str | None = None
    """The trial of the same sweep that must have finished before: the run id of a teacher."""

    @property
    def needed_dir(self) -> Path | None:
        """The folder of the trial that this one needs."""
        return None if self.needs is None else self.run_dir.parent / self.needs

    def payload(self, launch_id: str, stop_file: Path | None = None) -> dict[str, Any]:
        """What the workers are told; the configuration they read from `run_dir`.

        Args:
            launch_id: Which launch of the sweep this is.
            stop_file: Once it exists the training saves and leaves; None: only the caller stops it.

        Returns:
            Plain data.
        """
        return {
            "run_id": self.run_id,
            "run_dir": str(self.run_dir),
            "command": self.command,
            "entry": self.entry,
            "launch_id": launch_id,
            "stop_file": None if stop_file is None else str(stop_file),
            "workers": asdict(self.workers),
        }

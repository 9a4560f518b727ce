"""A benchmark as a run of its own in MLflow, where that is asked for."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from apt_core.config import ExperimentConfig, config_to_json
from apt_core.files import write_json
from apt_core.report import StepMetrics
from jobs.tracked import flat_params
from orchestrator.execution.status import (
    METRICS_FILE,
    TrialState,
    write_status,
)
from orchestrator.tracking.session import open_tracking
from orchestrator.tracking.sink import TrialInfo

Found = Mapping[str, Any]
"""A report as JSON."""
BENCH_FILE = "bench.json"


@contextmanager
def tracked(
    config: ExperimentConfig, out: Path, *, is_on: bool
) -> Iterator[Callable[[Found], None]]:
    """Connect before anything is measured, and deliver what was found on leaving.

    Args:
        config: where the tracking server is.
        out: gets one folder per benchmark that is delivered.
        is_on: off: nobody is asked, nothing is delivered.

    Yields:
        Callable[[Found], None]: takes the report.
    """
    if not is_on:
        yield lambda found: None
        return
    with open_tracking(
        config.tracking.uri,
        results_dir=config.orchestration.results_path,
        experiment=config.tracking.experiment or config.name,
    ) as shipper:
        yield lambda found: shipper.add(as_run(config, out, found))


def as_run(config: ExperimentConfig, out: Path, found: Found) -> TrialInfo:
    """Write a report as a finished run's folder.

    Args:
        config: what was measured.
        out: gets the folder.
        found: the report.

    Returns:
        What a sink needs to know of it.
    """
    from apt_core.trainer.metric_log import JsonlWriter  # imports torch

    identity = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:10]
    folder = out / identity
    write_json(folder / BENCH_FILE, found)
    writer = JsonlWriter(folder / METRICS_FILE)
    writer.write(StepMetrics(0, time.time_ns() // 1_000_000, bench_metrics(found)))
    writer.close()
    write_status(folder, TrialState.FINISHED)
    settings = found["settings"]
    return TrialInfo(
        run_id=f"bench-{identity}",
        name=f"bench {settings['arm']} {settings['density']:g} {settings['model']}",
        directory=folder,
        keys={name: str(value) for name, value in settings.items()},
        params=flat_params(config_to_json(config)),
        artifacts=(BENCH_FILE,),
    )


def bench_metrics(found: Found) -> dict[str, float]:
    """The numbers that one compares between benchmarks, by name.

    Args:
        found: the report.

    Returns:
        Step times and their ratios, peak memory, speed-ups, rates.
    """
    metrics = {f"bench/{name}": value for name, value in found["rates"].items()}
    for step in found["training"]:
        phase = _plain(step["phase"])
        metrics[f"bench/step_s/{phase}"] = step["seconds"]["median"]
        metrics[f"bench/step_ratio/{phase}"] = step["ratio_to_control"]["value"]
        metrics[f"bench/step_fraction_of_bound/{phase}"] = step["fraction_of_bound"]
    for memory in found["memory"]:
        phase = _plain(memory["phase"])
        metrics[f"bench/tensors_gib/{phase}"] = memory["tensors_gib"]
        metrics[f"bench/memory_ratio/{phase}"] = memory["ratio_to_control"]["value"]
    for point in found["inference"]:
        size = f"{point['rows']}x{point['tokens']}"
        metrics[f"bench/latency_s/{size}"] = point["pruned"]["seconds"]["median"]
        metrics[f"bench/speedup/{size}"] = point["speedup"]["value"]
    return metrics


def _plain(phase: str) -> str:
    """A phase's name without what trackers do not like in names."""
    return phase.replace(", ", "_")

"""What it costs a training to show a logged step to Prometheus: time per call inside a Ray worker.

A private cluster of Ray is started and ended. Run it with nothing else on the machine.
"""

import logging
import statistics
import time

import ray

from apt_core.models.structure import Structure
from apt_core.trainer.state import TrainerState
from orchestrator.execution.cluster import cluster
from orchestrator.execution.trial_gauges import LOGGED, TrialGauges

CALLS, REPEATS = 1000, 9
log = logging.getLogger("gauge_cost")


def microseconds_per_step() -> tuple[list[float], list[float]]:
    """Per repeat: microseconds of a logged step, with all gauges, and of a step between two."""
    structure = Structure(4, ())
    state = TrainerState(CALLS, structure, structure)
    gauges = TrialGauges("0123456789abcdef", "apt")
    values = {name: 0.5 for name, _ in LOGGED.values()}
    gauges.on_step_end(state, values)  # makes them
    return (
        [_timed(lambda: gauges.on_step_end(state, values)) for _ in range(REPEATS)],
        [_timed(lambda: gauges.on_step_end(state, {})) for _ in range(REPEATS)],
    )


def _timed(call: object) -> float:
    assert callable(call)
    started = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - started) / CALLS * 1e6


def main() -> None:
    """Measure and print."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with cluster(None):
        in_worker = ray.remote(num_cpus=1)(microseconds_per_step)
        logged, between = ray.get(in_worker.remote())
    for what, times in (("logged step", logged), ("step in between", between)):
        middle = statistics.median(times)
        log.info("%s: %.2f us (%.2f to %.2f)", what, middle, min(times), max(times))


if __name__ == "__main__":
    main()

"""A trial over two nodes, one of which is killed and comes back: nothing of it shows in the end."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from apt_core.config import config_to_json
from tests.nightly import nightly
from tests.ray_head import (
    REPOSITORY,
    RayHead,
    end_family,
    processes_of_jobs,
    ray_head,
    ray_worker,
)
from tests.reference.training_cases import assert_same, outcome, run_tiny
from tests.spawn import run_workers
from tests.tiny_run import tiny_experiment
from tests.two_machines import two_machines

STEPS = 200
SETTINGS = (
    f"training.max_steps={STEPS}",
    "training.eval_every=100 steps",
    "training.save_every=20 steps",
    "hardware.zero_stage=2",
    "hardware.num_workers=2",
    "hardware.num_threads=1",
    "evaluation.measure_efficiency=false",
)
Node = subprocess.Popen[bytes]


def write_recipe(root: Path, address: str) -> Path:
    config = tiny_experiment(
        root,
        *SETTINGS,
        "tracking.enabled=false",
        "orchestration.max_failures=1",
        f"orchestration.address={address}",
        f"orchestration.results_dir={root / 'runs'}",
    )
    path = root / "recipe.yaml"
    path.write_text(yaml.safe_dump(config_to_json(config)))
    return path


@contextmanager
def sweep(head: RayHead, recipe: Path) -> Iterator[Node]:
    """The command on the head's machine, with all it says in a file beside the recipe."""
    command = (sys.executable, "-m", "jobs.cli", "sweep", "-c", str(recipe))
    with recipe.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen(
            [*head.machine.enter, *command],
            cwd=REPOSITORY,
            env={k: v for k, v in head.environment.items() if k != "RAY_ADDRESS"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        end_family(process)


def wait_for(what: Callable[[], object], process: Node, log: Path, timeout_s: float = 300) -> None:
    deadline = time.monotonic() + timeout_s
    while not what():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


def workers_on(node: Node) -> int:
    return sum("RayTrainWorker" in line for line in processes_of_jobs(node))


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(1500)
@nightly("starts a cluster of two nodes, twice two workers")
def test_a_lost_node_changes_nothing_in_a_trial_that_spans_two(tmp_path: Path) -> None:
    with (
        two_machines() as (here, there),
        ray_head(None, "--num-cpus=1", has_dashboard=False, machine=here) as head,
    ):
        recipe = write_recipe(tmp_path, head.cluster_address)
        log = recipe.with_suffix(".log")
        with ray_worker(head, there) as lost, sweep(head, recipe) as command:
            wait_for(lambda: list(tmp_path.glob("runs/*/trials/*/checkpoints/*-*")), command, log)
            assert head.process is not None
            assert (workers_on(head.process), workers_on(lost)) == (1, 1)
            end_family(lost)
            (folder,) = tmp_path.glob("runs/*/trials/*")
            assert not (folder / "result.json").exists()
            with ray_worker(head, there):
                assert command.wait(timeout=600) == 0, log.read_text()
    result = json.loads((folder / "result.json").read_text())
    undisturbed = tmp_path / "undisturbed"
    (report, _) = run_workers(
        run_tiny,
        root=str(tmp_path),
        run_dir=str(undisturbed),
        overrides=list(SETTINGS),
        dropout=0.1,
        timeout_s=600,
    )
    assert_same(outcome(folder), outcome(undisturbed))
    assert (result["metric"], result["sparsity"]) == (report["metric"], report["sparsity"])

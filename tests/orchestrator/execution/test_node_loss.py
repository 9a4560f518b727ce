"""A trial over two nodes, one of which goes, with notice or without: nothing shows in the end."""

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
from tests.two_machines import Machine, two_machines

STEPS = 1000
SETTINGS = (
    f"training.max_steps={STEPS}",
    "training.eval_every=100 steps",
    "training.save_every=20 steps",
    "hardware.zero_stage=2",
    "hardware.num_workers=2",
    "hardware.num_threads=1",
    "evaluation.measure_efficiency=false",
)
NOTICE_S = 5
NODE_AT = """
import sys, ray
ray.init(address=sys.argv[1], log_to_driver=False)
print(*(node["NodeID"] for node in ray.nodes() if node["NodeManagerAddress"] == sys.argv[2]))
"""
Node = subprocess.Popen[bytes]


def write_recipe(root: Path, address: str, max_failures: int) -> Path:
    config = tiny_experiment(
        root,
        *SETTINGS,
        "tracking.enabled=false",
        f"orchestration.max_failures={max_failures}",
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


def ask(head: RayHead, *command: str) -> str:
    """What a command on the head's machine prints."""
    environment = {k: v for k, v in head.environment.items() if k != "RAY_ADDRESS"}
    told = subprocess.run(
        [*head.machine.enter, *command], env=environment, capture_output=True, text=True, check=True
    )
    return told.stdout.strip()


def give_notice(head: RayHead, machine: Machine) -> None:
    """As a cloud that takes a spot instance back: word, time to leave, and no power."""
    node = ask(head, sys.executable, "-c", NODE_AT, head.cluster_address, machine.address)
    reason = ("--reason=DRAIN_NODE_REASON_PREEMPTION", "--reason-message=spot instance")
    which = (f"--address={head.cluster_address}", f"--node-id={node}")
    ray = str(Path(sys.executable).with_name("ray"))
    ask(head, ray, "drain-node", *which, *reason, f"--deadline-remaining-seconds={NOTICE_S}")
    time.sleep(NOTICE_S)


def nothing(*_: object) -> None:
    """No notice."""


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(1500)
@nightly("starts a cluster of two nodes, twice two workers")
@pytest.mark.parametrize(
    ("warn", "restarts"), [(nothing, 1), (give_notice, 0)], ids=["killed", "preempted"]
)
def test_a_lost_node_changes_nothing_in_a_trial_that_spans_two(
    tmp_path: Path, warn: Callable[[RayHead, Machine], None], restarts: int
) -> None:
    with (
        two_machines() as (here, there),
        ray_head(None, "--num-cpus=1", has_dashboard=False, machine=here) as head,
    ):
        recipe = write_recipe(tmp_path, head.cluster_address, restarts)
        log = recipe.with_suffix(".log")
        with ray_worker(head, there) as lost, sweep(head, recipe) as command:
            wait_for(lambda: list(tmp_path.glob("runs/*/trials/*/checkpoints/*-*")), command, log)
            assert head.process is not None
            assert (workers_on(head.process), workers_on(lost)) == (1, 1)
            warn(head, there)
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

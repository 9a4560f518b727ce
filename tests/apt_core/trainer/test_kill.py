"""A run killed with SIGKILL or SIGTERM, wherever it stands, resumes and ends bit-identical."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from apt_core.config import config_to_json
from apt_core.trainer.build import run_training
from tests.reference.training_cases import (
    ID,
    assert_same,
    check_leaves_together,
    outcome,
    run_until_killed,
)
from tests.spawn import run_workers
from tests.tiny_run import EVENTS, tiny_experiment

REPOSITORY = Path(__file__).parents[3]
SCRIPT = (
    "import json, sys; from tests.reference import training_cases as cases; "
    f"cases.{run_until_killed.__name__}(**json.loads(sys.argv[1]))"
)
KILLS = {
    "in a prune event": ([], EVENTS[0], "surgery"),
    "in a growth event": (["ablation=w/o_Ap"], EVENTS[1], "surgery"),
    "while it saves": ([], EVENTS[1], "save"),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Holds the model and the data; the killed processes find them there."""
    root = tmp_path_factory.mktemp("kill")
    tiny_experiment(root)
    return root


@pytest.fixture(scope="module")
def killed(root):
    """All three runs at once: what takes long is starting a process. Exit status by name."""
    processes = {}
    for number, (name, (overrides, step, where)) in enumerate(KILLS.items()):
        call = {"root": str(root), "run_dir": str(root / f"run-{number}"), "overrides": overrides}
        processes[name] = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, json.dumps(call | {"step": step, "where": where})],
            cwd=REPOSITORY,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
    try:
        yield {
            name: (process.wait(200), root / f"run-{number}")
            for number, (name, process) in enumerate(processes.items())
        }
    finally:
        for process in processes.values():
            process.kill()
            process.wait()


@pytest.mark.parametrize("name", KILLS)
def test_a_killed_run_resumes_and_ends_bit_identical(name, killed, root, tmp_path):
    overrides, step, where = KILLS[name]
    status, folder = killed[name]
    assert status == -signal.SIGKILL
    left = sorted(path.name for path in (folder / "checkpoints").iterdir())
    partial = [f"partial-{step:08d}"] if where == "save" else []
    assert left == [*partial, *(f"step-{s:08d}" for s in range(6, step, 6))]

    config = tiny_experiment(root, *overrides)
    run_training(config, run_dir=tmp_path, run_id=ID)
    report = run_training(config, run_dir=folder, run_id=ID)
    assert_same(outcome(folder), outcome(tmp_path))
    assert [point.step for point in report.history] == [12, 24, 36]


def test_sigterm_saves_the_last_step_and_nothing_is_lost(root, tmp_path):
    config = tiny_experiment(
        root,
        "training.max_steps=100",
        "training.save_every=100 steps",
        "hardware.num_threads=1",
        f"orchestration.results_dir={tmp_path / 'runs'}",
    )
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps(config_to_json(config)))
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs.cli", "train", "--local", "-c", str(recipe)],
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        folder = wait_for_steps(tmp_path / "runs", 10)
        process.terminate()
        _, told = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    (checkpoint,) = (folder / "checkpoints").iterdir()
    step = int(checkpoint.name.removeprefix("step-"))
    assert process.returncode == 1
    assert told == (
        f"error: stopped at step {step} of 100, which is saved; the same command continues there\n"
    )
    assert json.loads((folder / "status.json").read_text())["state"] == "KILLED"
    assert json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])["step"] == step

    run_training(config, run_dir=folder, run_id=folder.name)
    run_training(config, run_dir=tmp_path / "whole", run_id=ID)
    assert_same(outcome(folder), outcome(tmp_path / "whole"))


def wait_for_steps(results, count):
    """The folder of the only trial, once it has logged so many steps."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for log in results.glob("*/trials/*/metrics.jsonl"):
            if len(log.read_text().splitlines()) >= count:
                return log.parent
        time.sleep(0.01)
    raise AssertionError("the run logs nothing")


@pytest.mark.distributed
def test_two_workers_leave_at_the_same_step_when_only_one_is_asked(root, tmp_path):
    arguments: dict[str, Any] = {
        "root": str(root),
        "run_dir": str(tmp_path),
        "overrides": ["hardware.num_workers=2"],
        "step": EVENTS[0] + 1,
    }
    (told,) = set(run_workers(check_leaves_together, num_workers=2, **arguments))
    assert told.startswith(f"stopped at step {EVENTS[0] + 1} of 36")

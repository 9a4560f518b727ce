"""A run killed with SIGKILL, wherever it stands, resumes and ends bit-identical."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from apt_core.trainer.build import run_training
from tests.reference.training_cases import ID, assert_same, outcome, run_until_killed
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

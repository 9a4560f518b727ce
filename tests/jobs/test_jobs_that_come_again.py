"""Grids that are submitted again and again, or whose driver is killed: one trial, one run."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from apt_core.config import config_to_json
from tests.jobs.test_jobs_on_a_cluster import (
    aptune,
    logged_steps,
    trial_dirs,
    wait_until,
)
from tests.nightly import nightly
from tests.ray_head import REPOSITORY, RayHead, ray_head
from tests.tiny_run import tiny_experiment

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.services,
    pytest.mark.timeout(900),
]
STEPS = 2000
TIMES = 10
RUNS = "select value from tags where key = 'aptune.kind'"
POINTS = "select run_uuid, key, step, count(*) from metrics group by 1, 2, 3 having count(*) > 1"


@pytest.fixture(scope="module")
def head() -> Iterator[RayHead]:
    with ray_head() as head:
        yield head


def write_grid(root: Path, seed: int, steps: int = STEPS) -> Path:
    config = tiny_experiment(
        root,
        "arm=ft",
        f"training.max_steps={steps}",
        "training.eval_every=500 steps",
        "training.save_every=50 steps",
        "training.log_every=5 steps",
        "hardware.engine=torch",
        "evaluation.measure_efficiency=false",
        "tracking.enabled=true",
        f"orchestration.results_dir={root / 'runs'}",
        f"orchestration.grid=[{{seed: {seed}}}]",
    )
    (root / "package").mkdir()
    path = root / "package" / "tiny.yaml"
    path.write_text(yaml.safe_dump(config_to_json(config)))
    return path


def submit_at_once(head: RayHead, grid: Path, times: int) -> list[str]:
    """What each of several clients says."""
    command = [sys.executable, "-m", "jobs.cli", "submit", "-c", str(grid)]
    clients = [
        subprocess.Popen(
            command, cwd=REPOSITORY, env=head.environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(times)
    ]
    return [client.communicate(timeout=300)[0] for client in clients]


def first_words(texts: list[str]) -> list[str]:
    return sorted(text.split()[0] for text in texts)


def check_one_of_everything(grid: Path) -> None:
    (folder,) = trial_dirs(grid)
    steps = logged_steps(grid)
    assert json.loads((folder / "result.json").read_text())["total_steps"] == steps[-1]
    assert steps == sorted(set(steps))
    with sqlite3.connect(grid.parents[1] / "runs" / "mlflow.db") as database:
        assert sorted(kind for (kind,) in database.execute(RUNS)) == ["sweep", "trial"]
        assert database.execute(POINTS).fetchall() == []


@nightly("submits one grid ten times")
def test_ten_submissions_are_one_job_one_trial_and_one_run(head: RayHead, tmp_path: Path) -> None:
    grid = write_grid(tmp_path, seed=1)
    assert first_words(submit_at_once(head, grid, 5)) == ["joined"] * 4 + ["submitted"]
    wait_until(lambda: len(logged_steps(grid)) > 0)
    assert first_words(submit_at_once(head, grid, 3)) == ["joined"] * 3
    ninth = aptune(head, "submit", "-c", str(grid), "--wait")
    assert ninth.returncode == 0, ninth.stdout + ninth.stderr
    check_one_of_everything(grid)
    (folder,) = trial_dirs(grid)
    log = (folder / "worker.log").read_bytes()
    tenth = aptune(head, "submit", "-c", str(grid), "--wait")
    assert tenth.returncode == 0, tenth.stdout + tenth.stderr
    assert (folder / "worker.log").read_bytes() == log  # it has trained nothing
    check_one_of_everything(grid)


def drivers_of_jobs(head: RayHead) -> list[psutil.Process]:
    assert head.process is not None
    family = psutil.Process(head.process.pid).children(recursive=True)
    return [process for process in family if "sweep" in process.cmdline()]


@nightly("kills a job's driver")
def test_a_job_whose_driver_is_killed_has_failed_and_is_continued(
    head: RayHead, tmp_path: Path
) -> None:
    grid = write_grid(tmp_path, seed=2, steps=5 * STEPS)
    (told,) = submit_at_once(head, grid, 1)
    assert told.startswith("submitted job ")
    job = told.split()[2]

    def state() -> str:
        return str(json.loads(aptune(head, "status", job, "--json").stdout)["job"]["state"])

    wait_until(lambda: bool(list(tmp_path.glob("runs/*/trials/*/checkpoints/step-*"))))
    (driver,) = drivers_of_jobs(head)
    driver.kill()
    wait_until(lambda: state() == "FAILED")
    (folder,) = trial_dirs(grid)
    assert not (folder / "result.json").exists()
    done = aptune(head, "submit", "-c", str(grid), "--wait")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "continues as job" in done.stdout
    check_one_of_everything(grid)

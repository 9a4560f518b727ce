"""Grids as jobs on a real cluster: submitted, joined, stopped, resumed, and never run twice."""

import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from apt_core.config import config_to_json
from tests.ray_head import REPOSITORY, RayHead, ray_head
from tests.tiny_run import tiny_experiment

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]
STEPS = 1500
GONE_WITHIN_S = 15


@pytest.fixture(scope="module")
def head() -> Iterator[RayHead]:
    with ray_head() as head:
        yield head


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grid of one tiny training, and a folder around it."""
    root = tmp_path_factory.mktemp("grid")
    config = tiny_experiment(
        root,
        "arm=ft",
        f"training.max_steps={STEPS}",
        "training.eval_every=500 steps",
        "training.save_every=500 steps",
        "training.log_every=5 steps",
        "hardware.engine=torch",
        "evaluation.measure_efficiency=false",
        "tracking.enabled=false",
        f"orchestration.results_dir={root / 'runs'}",
        "orchestration.grid=[{seed: 1}]",
    )
    (root / "package").mkdir()
    path = root / "package" / "tiny.yaml"
    path.write_text(yaml.safe_dump(config_to_json(config)))
    return path


def aptune(head: RayHead, *args: str) -> "subprocess.CompletedProcess[str]":
    return run(head, [sys.executable, "-m", "jobs.cli", *args])


def with_environment(head: RayHead, **changed: str) -> RayHead:
    return replace(head, environment={**head.environment, **changed})


def run(head: RayHead, command: list[str], cwd: Path = REPOSITORY) -> Any:
    return subprocess.run(
        command,
        cwd=cwd,
        env=head.environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def wait_until(
    condition: Callable[[], bool],
    timeout_s: float = 200,
    explain: Callable[[], object] = lambda: "",
) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"timed out{explain()}"
        time.sleep(0.2)


def trial_dirs(grid: Path) -> list[Path]:
    return sorted((grid.parents[1] / "runs").glob("*/trials/*"))


def logged_steps(grid: Path) -> list[int]:
    logs = [folder / "metrics.jsonl" for folder in trial_dirs(grid)]
    lines = [line for log in logs if log.exists() for line in log.read_text().splitlines()]
    return [json.loads(line)["step"] for line in lines]


def test_a_grid_is_joined_stopped_and_resumed_without_doing_anything_twice(
    head: RayHead, grid: Path
) -> None:
    submit = [sys.executable, "-m", "jobs.cli", "submit", "-c", str(grid)]
    both = [
        subprocess.Popen(
            submit, cwd=REPOSITORY, env=head.environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    told = [process.communicate(timeout=120)[0] for process in both]
    assert sorted(text.split()[0] for text in told) == ["joined", "submitted"]

    wait_until(lambda: len(logged_steps(grid)) > 0)
    done = aptune(head, "stop")  # at once: a tiny training does not take long
    stopped_at = time.monotonic()
    assert (done.returncode, done.stderr) == (0, "")
    assert "stopped; 1 trial: 1 killed" in done.stdout
    wait_until(lambda: head.processes_of_jobs() == [], GONE_WITHIN_S, head.processes_of_jobs)
    assert time.monotonic() - stopped_at < GONE_WITHIN_S
    (folder,) = trial_dirs(grid)
    *_, checkpoint = sorted((folder / "checkpoints").glob("step-*"))
    saved = int(checkpoint.name.removeprefix("step-"))
    assert 0 < saved < STEPS

    by_cluster = with_environment(head, RAY_ADDRESS=head.cluster_address)  # Ray finds the server
    shown = json.loads(aptune(by_cluster, "status", "--json").stdout)
    (trial,) = shown["trials"]
    assert (shown["job"]["state"], trial["state"]) == ("STOPPED", "KILLED")
    assert (trial["node"], trial["total_steps"]) == (platform.node(), STEPS)
    first = shown["job"]["submission_id"]
    # With our sources on board: they go before what is installed there.
    done = aptune(head, "resume", first, "--with-code", "--wait")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"continues as job {first.removesuffix('1')}2" in done.stdout
    assert trial_dirs(grid) == [folder]
    steps = logged_steps(grid)
    assert steps == sorted(set(steps))  # nothing was trained twice
    assert steps[-1] == STEPS
    assert json.loads((folder / "result.json").read_text())["total_steps"] == STEPS


def test_a_plain_ray_job_finds_what_is_finished_and_trains_nothing(
    head: RayHead, grid: Path
) -> None:
    (folder,) = trial_dirs(grid)
    before = (folder / "result.json").read_bytes(), (folder / "worker.log").read_bytes()

    ray = str(Path(sys.executable).with_name("ray"))
    plain = [ray, "job", "submit", "--working-dir", ".", "--", "aptune", "sweep", "-c", grid.name]
    done = run(head, plain, cwd=grid.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "report.md" in done.stdout

    assert trial_dirs(grid) == [folder]
    assert before == ((folder / "result.json").read_bytes(), (folder / "worker.log").read_bytes())


def test_a_client_without_the_token_is_told_what_to_set(head: RayHead, tmp_path: Path) -> None:
    wrong = tmp_path / "token"
    wrong.write_text("0" * 64)
    stranger = with_environment(head, RAY_AUTH_TOKEN_PATH=str(wrong))
    done = aptune(stranger, "status")
    assert done.returncode == 2
    assert "RAY_AUTH_TOKEN_PATH" in done.stderr
    assert "Traceback" not in done.stderr

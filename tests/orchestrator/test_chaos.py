"""A sweep whose processes are killed ends as if nothing had happened; needs no luck, has a seed.

The undisturbed runs are the same trainings by themselves, without Ray: a sweep adds nothing to
what is computed.
"""

import json
import random
import sqlite3
import time
from pathlib import Path

import pytest
import yaml

from apt_core.config import config_from_json, config_to_json
from apt_core.trainer.build import run_training
from tests.chaos import KINDS, SWEEP, Chaos
from tests.nightly import nightly
from tests.reference.training_cases import assert_same, outcome
from tests.tiny_run import tiny_experiment

pytestmark = [pytest.mark.ray, pytest.mark.services, pytest.mark.slow]
STEPS = 400
"""Enough on a fast machine: while one trial starts again, the others train on."""
GONE_WITHIN_S = 30
POINTS = "select key, step, value from metrics where run_uuid = ?"
RUNS = """
select runs.run_uuid, runs.status, kind.value, id.value from runs
join tags kind on kind.run_uuid = runs.run_uuid and kind.key = 'aptune.kind'
join tags id on id.run_uuid = runs.run_uuid and id.key = 'aptune.run_id'
where runs.lifecycle_stage = 'active'
"""
Key = tuple[str, int]


def write_recipe(root: Path, grid: str, max_failures: int) -> Path:
    config = tiny_experiment(
        root,
        f"training.max_steps={STEPS}",
        "training.eval_every=100 steps",
        "training.save_every=10 steps",
        "hardware.num_threads=1",
        "tracking.enabled=true",
        f"orchestration.max_failures={max_failures}",
        f"orchestration.results_dir={root / 'runs'}",
        f"orchestration.grid={grid}",
    )
    path = root / "recipe.yaml"
    path.write_text(yaml.safe_dump(config_to_json(config)))
    return path


def trial_dirs(root: Path) -> list[Path]:
    return sorted((root / "runs").glob("*/trials/*"))


def logged(folder: Path) -> dict[Key, float]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    points = [((key, line["step"]), v) for line in lines for key, v in line["values"].items()]
    assert len(dict(points)) == len(points)
    return dict(points)


def shown(database: sqlite3.Connection, run: str) -> dict[Key, float]:
    """What MLflow has of a run, without the summary that is made of the result."""
    rows = database.execute(POINTS, (run,)).fetchall()
    points = [((key, step), v) for key, step, v in rows if not key.startswith("final/")]
    assert len(dict(points)) == len(points), "a point is there twice"
    return dict(points)


def check_tracking(root: Path) -> None:
    """One finished run per trial and one for the sweep, with every point once."""
    with sqlite3.connect(root / "runs" / "mlflow.db") as database:
        runs = database.execute(RUNS).fetchall()
        assert {status for _, status, _, _ in runs} == {"FINISHED"}
        assert [kind for _, _, kind, _ in runs].count("sweep") == 1
        trials = {run_id: run for run, _, kind, run_id in runs if kind == "trial"}
        assert len(trials) == len(runs) - 1
        assert sorted(trials) == [folder.name for folder in trial_dirs(root)]
        for folder in trial_dirs(root):
            assert shown(database, trials[folder.name]) == logged(folder)


def check_results(root: Path) -> None:
    """Every trial is what it would have been by itself: metrics, weights and score."""
    for folder in trial_dirs(root):
        config = config_from_json(json.loads((folder / "config.json").read_text()))
        alone = root / "alone" / folder.name
        report = run_training(config, run_dir=alone, run_id=folder.name)
        assert_same(outcome(folder), outcome(alone))
        result = json.loads((folder / "result.json").read_text())
        assert (result["metric"], result["sparsity"]) == (report.metric, report.sparsity)


def check_sweep(root: Path, *, grid: str, num_trials: int, kinds: list[str], time_s: float) -> None:
    recipe = write_recipe(root, grid, max_failures=len(kinds))
    chaos = Chaos(recipe, root / "runs", seed=1, deadline=time.monotonic() + time_s)
    # The command has to be run again when it is struck itself, and where a server that was not up
    # yet ends it; everything else it mends by itself.
    chaos.run(kinds, max_launches=2 + kinds.count(SWEEP))
    assert len(chaos.strikes) == len(kinds)
    before = [logged(folder) for folder in trial_dirs(root)]
    assert len(before) == num_trials
    # Once more: it trains nothing, and delivers what a server that was away has missed.
    assert chaos.launch([], random.Random()) == 0, chaos.story()
    assert [logged(folder) for folder in trial_dirs(root)] == before
    assert chaos.left_over(GONE_WITHIN_S) == []
    check_tracking(root)
    check_results(root)


@pytest.mark.timeout(1500)
def test_six_kills_change_nothing(tmp_path: Path) -> None:
    grid = "[{arm: [ft, lora], seed: 1}, {arm: apt, seed: [1, 2]}]"
    check_sweep(tmp_path, grid=grid, num_trials=4, kinds=list(KINDS), time_s=1300)


@nightly("takes half an hour")
@pytest.mark.timeout(4 * 3600)
def test_fifty_kills_change_nothing(tmp_path: Path) -> None:
    grid = f"[{{arm: [ft, lora, apt], seed: {list(range(1, 9))}}}]"
    kinds = random.Random(50).choices(KINDS, k=50)
    check_sweep(tmp_path, grid=grid, num_trials=24, kinds=kinds, time_s=3.5 * 3600)

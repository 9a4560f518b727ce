from pathlib import Path

import pytest
import yaml

from jobs.common import read_config
from jobs.dry_run import describe
from jobs.planning import make_plan
from jobs.preflight import Place
from tests.jobs.test_planning import plan_of


def test_a_dry_run_prints_configuration_trials_and_schedule(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = plan_of(project)
    assert describe(plan) == 0
    out = capsys.readouterr().out
    resolved = yaml.safe_load(out[: out.index("# 4 trials")])
    assert resolved["training"]["max_steps"] == 100
    for spec in plan.specs:
        assert spec.run_id in out  # never cut, however narrow the terminal
    assert out.count("about") == 4
    assert "unknown until first steps" in out
    assert "nothing was started" in out
    assert not (project / "runs").exists()


def test_the_schedule_shows_density_budget_and_mu(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    describe(plan_of(project, "orchestration.grid=[{arm: apt, sparsity: 0.6}]"))
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    # start 10, stop 50, 4 events; density = 0.4 + 0.6 * ((50 - s) / 40)**3
    # budget = 663,552 * (1 + 3 k / 4); mu = (s - 10) / 40
    assert ["1", "20", "0.6531", "0.3469", "1,161,216", "0.250"] in rows
    assert ["2", "30", "0.4750", "0.5250", "1,658,880", "0.500"] in rows
    assert ["4", "50", "0.4000", "0.6000", "2,654,208", "1.000"] in rows


def test_a_part_that_is_switched_off_is_a_dash(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    describe(plan_of(project, "orchestration.grid=[]", "ablation=w/o_Ds"))
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["4", "50", "0.4000", "0.6000", "2,654,208", "-"] in rows
    describe(plan_of(project, "orchestration.grid=[]", "ablation=w/o_AT"))
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["4", "50", "0.4000", "0.6000", "-", "1.000"] in rows


def test_a_dry_run_says_where_trials_would_run(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    describe(plan_of(project, "orchestration.max_concurrent_trials=1"))
    out = capsys.readouterr().out
    assert "placement: 1 node with " in out
    assert "4 trials of 1 worker with 1 CPU each" in out
    assert "never more than 1 (orchestration.max_concurrent_trials)" in out


def test_a_dry_run_tells_a_refusal_and_goes_on(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = read_config([str(project / "config.yaml")], ["hardware.gpus_per_worker=512"])
    assert describe(make_plan(config, [], Place.NOWHERE)) == 0
    out = capsys.readouterr().out
    assert "nowhere: hardware: a trial asks for 1 worker with 1 CPU, 512 GPUs each" in out
    assert "nothing was started" in out


def test_a_dry_run_for_a_cluster_that_does_not_answer_says_so(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = read_config([str(project / "config.yaml")], ["orchestration.address=127.0.0.1:9"])
    assert describe(make_plan(config, [], Place.NOWHERE)) == 0
    assert "nowhere: orchestration.address: no Ray cluster at" in capsys.readouterr().out

import itertools
import json
import shlex
import socket
from pathlib import Path

import pytest

from apt_core.config import config_to_json
from apt_core.errors import UserError
from jobs.common import base_arguments, read_config
from jobs.planning import Plan, make_plan
from jobs.preflight import Place
from tests.orchestrator.execution.standin import make_report


def plan_of(project: Path, *overrides: str) -> Plan:
    file = str(project / "config.yaml")
    return make_plan(read_config([file], overrides), base_arguments([file], overrides))


def test_a_grid_becomes_trials_baselines_first(project: Path) -> None:
    specs = plan_of(project).specs
    assert [spec.label for spec in specs] == [
        "ft mine mine seed 1",
        "lora mine mine seed 1",
        "apt 0.4 mine mine seed 1",
        "apt 0.6 mine mine seed 1",
    ]
    assert all(spec.total_steps == 100 for spec in specs)
    assert specs[0].run_dir == project / "runs" / "small" / "trials" / specs[0].run_id
    assert len({spec.run_id for spec in specs}) == 4


def test_the_rerun_command_of_a_cell_leads_to_the_same_run(project: Path) -> None:
    spec = plan_of(project, "training.seed=7").specs[3]
    words = shlex.split(spec.command)
    assert words[:2] == ["aptune", "train"]
    sets = [value for flag, value in itertools.pairwise(words) if flag == "--set"]
    alone = plan_of(project, *sets, "orchestration.grid=[]").specs
    assert [trial.run_id for trial in alone] == [spec.run_id]


def test_a_trial_carries_its_resolved_configuration_and_its_workers(project: Path) -> None:
    plan = plan_of(project, "hardware.num_workers=2", "orchestration.max_failures=3")
    spec = plan.specs[2]
    assert spec.config["pruning"]["target_sparsity"] == 0.4
    assert spec.config == config_to_json(plan.trials[2].cell.config)
    assert spec.workers.num_workers == 2
    assert plan.settings.max_failures == 3


def test_another_dataset_content_is_another_run(project: Path) -> None:
    before = plan_of(project).specs[0].run_id
    (project / "data" / "validation.parquet").write_bytes(
        (project / "data" / "train.parquet").read_bytes()
    )
    same = plan_of(project).specs[0].run_id
    from tests.jobs.conftest import write_split

    write_split(project / "data", "validation", {"sentence": ["good"], "label": [1]})
    assert plan_of(project).specs[0].run_id not in {before, same}


def test_a_dry_plan_needs_no_results_folder_and_leaves_none(project: Path) -> None:
    file = str(project / "config.yaml")
    make_plan(read_config([file], []), [], Place.NOWHERE)
    assert not (project / "runs").exists()


def test_llm_pruner_on_an_encoder_is_refused_before_anything_starts(project: Path) -> None:
    with pytest.raises(UserError, match=r"arm: llm_pruner is for decoders .*family 'roberta'"):
        plan_of(project, "orchestration.grid=[{arm: [lora, llm_pruner]}]")


def test_every_problem_is_raised_together(project: Path) -> None:
    (project / "model" / "tokenizer.json").unlink()
    (project / "data" / "train.parquet").unlink()
    with pytest.raises(UserError) as caught:
        plan_of(project)
    assert "no tokenizer" in str(caught.value)
    assert "train" in str(caught.value)


def test_memory_of_a_worker_is_reserved_as_asked_for_and_else_estimated(project: Path) -> None:
    workers = plan_of(project).specs[0].workers
    assert workers.memory_per_worker_gib is None
    assert workers.expected_gib is not None
    assert workers.expected_gib > 1
    workers = plan_of(project, "hardware.memory_per_worker_gib=2").specs[0].workers
    assert workers.memory_per_worker_gib == 2


def test_a_trial_that_never_fits_is_refused_here_but_not_for_another_cluster(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    override = "orchestration.grid=[{arm: ft}, {arm: apt, set: {hardware.cpus_per_worker: 9999}}]"
    with pytest.raises(UserError, match="9999 CPUs each, and no node can hold"):
        plan_of(project, override)
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{somebody.getsockname()[1]}")
        assert len(plan_of(project, override).specs) == 2


def test_what_is_finished_needs_no_place(project: Path) -> None:
    file = str(project / "config.yaml")
    overrides = ["orchestration.grid=[]", "hardware.cpus_per_worker=9999"]
    spec = make_plan(read_config([file], overrides), [], Place.NOWHERE).specs[0]
    spec.run_dir.mkdir(parents=True)
    (spec.run_dir / "result.json").write_text(json.dumps(make_report(spec.run_id).to_json()))
    assert plan_of(project, *overrides).placement([]).kinds == ()

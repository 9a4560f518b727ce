import itertools
import shlex
from pathlib import Path

import pytest

from apt_core.config import config_to_json
from apt_core.errors import UserError
from jobs.common import base_arguments, read_config
from jobs.planning import Plan, make_plan
from jobs.preflight import Place


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

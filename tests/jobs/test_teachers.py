"""Which run teaches a cell, and that the cell's identity rests on it."""

import itertools
import json
import shlex
from pathlib import Path

import pytest

from apt_core.errors import UserError
from jobs.common import base_arguments, read_config
from jobs.planning import Plan, make_plan
from tests.orchestrator.execution.standin import make_report

TAUGHT = "{arm: apt, ablation: ft_teacher, seed: [1, 2]}"
BY_LORA = "{arm: apt, ablation: lora_teacher}"


def plan_of(project: Path, *blocks: str, sets: tuple[str, ...] = ()) -> Plan:
    file = str(project / "config.yaml")
    overrides = [*sets, "orchestration.grid=[" + ", ".join(blocks) + "]"]
    return make_plan(read_config([file], overrides), base_arguments([file], list(sets)))


def finished_run(folder: Path, arm: str, run_id: str = "abc") -> Path:
    folder.mkdir(parents=True)
    report = {**make_report(run_id).to_json(), "arm": arm}
    (folder / "result.json").write_text(json.dumps(report))
    return folder / "export"


def test_a_sweep_takes_the_teacher_of_the_same_seed_from_its_own_runs(project: Path) -> None:
    plan = plan_of(project, TAUGHT, "{arm: ft, seed: [2, 1]}")
    teachers = {t.cell.config.training.seed: t.spec for t in plan.trials[:2]}
    for trial in plan.trials[2:]:
        teacher = teachers[trial.cell.config.training.seed]
        assert trial.spec.needs == teacher.run_id
        assert trial.spec.needed_dir == teacher.run_dir
        assert trial.spec.config["distillation"]["teacher_path"] == str(teacher.run_dir / "export")
    assert all(trial.spec.needs is None for trial in plan.trials[:2])


def test_each_ablation_takes_the_arm_of_its_name(project: Path) -> None:
    plan = plan_of(project, "{arm: [ft, lora]}", BY_LORA)
    assert plan.trials[2].spec.needs == plan.trials[1].spec.run_id
    assert plan.trials[1].cell.config.arm == "lora"


def test_another_teacher_makes_another_run_and_another_place_does_not(project: Path) -> None:
    ids = set()
    for name, run_id in (("one", "abc"), ("moved", "abc"), ("other", "def")):
        path = finished_run(project / name, "ft", run_id)
        plan = plan_of(project, TAUGHT, sets=(f"distillation.teacher_path={path}",))
        assert plan.trials[0].spec.needs is None
        ids.add(plan.trials[0].spec.run_id)
    assert len(ids) == 2


def test_the_rerun_command_of_a_taught_cell_leads_to_the_same_run(project: Path) -> None:
    plan = plan_of(project, "{arm: ft}", "{arm: apt, ablation: ft_teacher}")
    teacher, taught = plan.specs
    finished_run(teacher.run_dir, "ft", teacher.run_id)
    words = shlex.split(taught.command)
    sets = tuple(value for flag, value in itertools.pairwise(words) if flag == "--set")
    (alone,) = plan_of(project, "{arm: apt}", sets=sets).specs
    assert alone.run_id == taught.run_id


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ((TAUGHT,), r"no ft run of model mine, dataset mine, seed 1; add arm ft to"),
        ((TAUGHT, "{arm: ft, seed: 3}"), r"no ft run of .* seed 2; add arm ft"),
        ((BY_LORA, "{arm: ft}"), r"no lora run of"),
        (
            (TAUGHT, "{arm: ft, seed: [1, 2]}", "{arm: ft, set: {training.learning_rate: 0.1}}"),
            r"2 ft runs of model mine, dataset mine, seed 1; name one of them",
        ),
    ],
)
def test_a_grid_without_the_one_teacher_is_refused(
    project: Path, blocks: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        plan_of(project, *blocks)


def test_a_named_teacher_must_be_finished_and_of_the_right_arm(project: Path) -> None:
    for path in (project / "nowhere" / "export", finished_run(project / "x", "lora")):
        with pytest.raises(UserError, match=r"distillation\.teacher_path: is "):
            plan_of(project, TAUGHT, sets=(f"distillation.teacher_path={path}",))

"""Whole runs that a finished run teaches: from the first step, exactly, and charged for it."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from apt_core.errors import ConfigError
from apt_core.report import RunReport
from apt_core.trainer.build import build_trainer, run_training
from apt_core.trainer.build_teacher import external_teacher_run
from tests.reference.training_cases import ID, CrashAfter, CrashError, assert_same, outcome
from tests.tiny_run import DISTILL_STOP, EVENTS, TOTAL_STEPS, tiny_experiment


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("taught")


@pytest.fixture(scope="module", params=["ft", "lora"])
def arm(request, root):
    """An arm of which a run is finished."""
    folder = root / request.param
    run_training(
        tiny_experiment(root, f"arm={request.param}"), run_dir=folder, run_id=request.param
    )
    return request.param


def taught(root, arm, *overrides):
    path = f"distillation.teacher_path={root / arm / 'export'}"
    return tiny_experiment(root, f"ablation={arm}_teacher", path, *overrides)


def logged(run_dir):
    lines = map(json.loads, (run_dir / "metrics.jsonl").read_text().splitlines())
    return {line["step"]: line["values"] for line in lines}


def test_the_teacher_teaches_from_the_first_step_until_it_is_dropped(root, arm, tmp_path):
    report = run_training(taught(root, arm), run_dir=tmp_path, run_id=ID)
    steps = logged(tmp_path)
    distilled = {step for step, values in steps.items() if values["train/loss_distill"] > 0}
    assert distilled == set(range(1, DISTILL_STOP + 1))
    assert [steps[s]["train/mu"] for s in (1, 13, 25)] == [0, 12 / EVENTS[-1], 1]
    assert {entry["step"] for entry in report.surgeries} == {*EVENTS, DISTILL_STOP}
    assert 0.5 <= report.sparsity < 0.535
    assert report.total_steps == TOTAL_STEPS


def test_the_report_names_the_teacher_and_what_it_took(root, arm, tmp_path):
    report = run_training(taught(root, arm), run_dir=tmp_path, run_id=ID)
    teacher = RunReport.load(root / arm / "result.json")
    assert (report.teacher_run_id, report.teacher_time_s) == (arm, teacher.train_time_s)
    written = RunReport.load(tmp_path / "result.json")
    assert (written.teacher_run_id, written.teacher_time_s) == (arm, teacher.train_time_s)
    assert teacher.teacher_run_id is None
    assert teacher.teacher_time_s == 0.0


def test_the_teacher_is_the_exported_model_and_stays_so(root, arm, tmp_path):
    trainer = build_trainer(taught(root, arm), run_dir=tmp_path, run_id=ID)
    exported = load_file(root / arm / "export" / "model.safetensors")
    own = trainer.modules.teacher.state_dict()
    trainer.train()
    for name, weight in exported.items():
        assert torch.equal(own[name], weight), name


@pytest.mark.parametrize("step", [2, EVENTS[0] - 2, EVENTS[1] + 1, DISTILL_STOP + 2])
def test_a_stopped_run_ends_bit_identical(root, arm, tmp_path, step):
    config = taught(root, arm, "training.save_every=1 steps")
    whole = root / f"whole-{arm}"
    if not whole.exists():
        run_training(config, run_dir=whole, run_id=ID)
    with pytest.raises(CrashError):
        run_training(config, run_dir=tmp_path, run_id=ID, callbacks=[CrashAfter(step)])
    run_training(config, run_dir=tmp_path, run_id=ID)
    assert_same(outcome(tmp_path), outcome(whole))


def test_a_moved_teacher_is_the_same_teacher(root, arm, tmp_path):
    shutil.copytree(root / arm, tmp_path / "moved")
    here = taught(root, arm)
    there = tiny_experiment(
        root,
        f"ablation={arm}_teacher",
        f"distillation.teacher_path={tmp_path / 'moved' / 'export'}",
    )
    run_training(here, run_dir=tmp_path / "a", run_id=ID)
    run_training(there, run_dir=tmp_path / "b", run_id=ID)
    assert_same(outcome(tmp_path / "a"), outcome(tmp_path / "b"))


def test_without_a_path_there_is_no_teacher(root, tmp_path):
    config = tiny_experiment(root, "ablation=ft_teacher")
    with pytest.raises(ConfigError, match=r"teacher_path: is not set, and ablation ft_teacher"):
        build_trainer(config, run_dir=tmp_path, run_id=ID)


def test_a_model_that_teaches_itself_reads_no_path(root):
    assert external_teacher_run(tiny_experiment(root, "distillation.teacher_path=/nowhere")) is None
    assert external_teacher_run(tiny_experiment(root, "arm=ft")) is None

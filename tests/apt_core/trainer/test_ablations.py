"""Whole runs of the controls and of every ablation of APT: shapes, ranks, losses, restarts."""

import json

import pytest

from apt_core.config.mode import OFFICIAL
from apt_core.trainer.build import build_trainer, run_training
from tests.nightly import nightly
from tests.reference.training_cases import (
    ID,
    CrashAfter,
    CrashError,
    assert_same,
    decisions,
    outcome,
    run_tiny,
)
from tests.spawn import run_workers
from tests.tiny_run import DISTILL_STOP, EVENTS, TEACHER_STEP, tiny_experiment

GROWN, PLAIN = True, False
BLOCK = 0.035
"""One of 16 hidden dimensions, the largest block, is no more than this at half the size."""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("ablations")


def run(root, run_dir, *overrides):
    return run_training(tiny_experiment(root, *overrides), run_dir=run_dir, run_id=ID)


def logged(run_dir):
    lines = map(json.loads, (run_dir / "metrics.jsonl").read_text().splitlines())
    return {line["step"]: line["values"] for line in lines}


def final_ranks(report):
    return set(report.structure["ranks"].values())


@pytest.mark.parametrize("arm", ["random", "magnitude"])
def test_a_control_cuts_grows_and_distils_like_apt(root, tmp_path, arm):
    report = run(root, tmp_path, f"arm={arm}")
    assert 0.5 <= report.sparsity < 0.5 + BLOCK
    assert {entry["step"] for entry in report.surgeries} == {TEACHER_STEP, *EVENTS, DISTILL_STOP}
    assert max(final_ranks(report)) > 2
    assert logged(tmp_path)[EVENTS[-1]]["train/loss_distill"] > 0


def test_the_controls_and_apt_choose_different_blocks(root, tmp_path):
    shapes = [
        [(e["heads"], e["neurons"], e["hidden_size"]) for e in decisions(report)]
        for report in (
            run(root, tmp_path / arm, f"arm={arm}") for arm in ("apt", "random", "magnitude")
        )
    ]
    assert shapes[0] != shapes[1] != shapes[2] != shapes[0]


@pytest.mark.parametrize("arm", ["random", "magnitude"])
def test_a_stopped_control_ends_bit_identical(root, tmp_path, arm):
    config = tiny_experiment(root, f"arm={arm}")
    run_training(config, run_dir=tmp_path / "whole", run_id=ID)
    for step in (EVENTS[0] - 2, EVENTS[1] + 1):
        with pytest.raises(CrashError):
            run_training(config, run_dir=tmp_path / "cut", run_id=ID, callbacks=[CrashAfter(step)])
    run_training(config, run_dir=tmp_path / "cut", run_id=ID)
    assert_same(outcome(tmp_path / "cut"), outcome(tmp_path / "whole"))


@pytest.mark.distributed
@pytest.mark.parametrize(
    "arm", ["random", pytest.param("magnitude", marks=nightly("the control with chance by day"))]
)
def test_two_workers_rank_the_blocks_of_a_control_alike(root, tmp_path, arm):
    tiny_experiment(root)  # writes model and data before the workers race for it
    overrides = [f"arm={arm}", "hardware.num_workers=2"]
    one, other = run_workers(run_tiny, root=str(root), run_dir=str(tmp_path), overrides=overrides)
    assert one["decisions"] == other["decisions"]
    assert 0.5 <= one["sparsity"] < 0.5 + BLOCK


FACTORIAL = {
    "full": (0.5, GROWN, True),
    "w/o_Ap": (0.0, GROWN, True),
    "w/o_AT": (0.5, PLAIN, True),
    "w/o_Ds": (0.5, GROWN, False),
    "w/o_Ap+AT": (0.0, PLAIN, True),
    "w/o_Ap+Ds": (0.0, GROWN, False),
    "w/o_AT+Ds": (0.5, PLAIN, False),
    "w/o_Ap+AT+Ds": (0.0, PLAIN, False),
    "paper:w/o_Ds": (0.5, GROWN, False),
}
"""Ablation -> sparsity reached, whether ranks grow, whether a teacher is listened to."""


@pytest.mark.parametrize("ablation", FACTORIAL)
def test_every_cell_of_the_factorial_grid_does_its_parts_and_no_other(root, tmp_path, ablation):
    sparsity, grows, distils = FACTORIAL[ablation]
    report = run(root, tmp_path, f"ablation={ablation}")
    assert sparsity - 1e-9 <= report.sparsity < sparsity + (BLOCK if sparsity else 1e-9)
    assert (max(final_ranks(report)) > 2) == grows
    steps = logged(tmp_path)
    distilled = {step for step, values in steps.items() if values.get("train/loss_distill", 0) > 0}
    assert distilled == (set(range(TEACHER_STEP + 1, DISTILL_STOP + 1)) if distils else set())
    assert report.total_steps == 36


def test_a_run_that_only_distils_may_be_stopped_too(root, tmp_path):
    config = tiny_experiment(root, "ablation=w/o_Ap+AT")
    run_training(config, run_dir=tmp_path / "whole", run_id=ID)
    with pytest.raises(CrashError):
        run_training(config, run_dir=tmp_path / "cut", run_id=ID, callbacks=[CrashAfter(20)])
    run_training(config, run_dir=tmp_path / "cut", run_id=ID)
    assert_same(outcome(tmp_path / "cut"), outcome(tmp_path / "whole"))


def test_without_the_choice_of_adapters_all_grow_alike(root, tmp_path):
    chosen = run(root, tmp_path / "a", "pruning.target_sparsity=0.1")
    alike = run(root, tmp_path / "b", "pruning.target_sparsity=0.1", "ablation=w/o_salience")
    assert len(final_ranks(alike)) == 1 < len(final_ranks(chosen))


AS_OFFICIAL = ("mode=official", *(f"{path}={json.dumps(v)}" for path, v in OFFICIAL.items()))


def test_the_mode_of_the_authors_runs_and_may_be_stopped(root, tmp_path):
    config = tiny_experiment(root, *AS_OFFICIAL)
    report = run_training(config, run_dir=tmp_path / "whole", run_id=ID)
    assert 0.5 <= report.sparsity < 0.5 + BLOCK
    steps = logged(tmp_path / "whole")
    distilled = {step for step, values in steps.items() if values["train/loss_distill"] > 0}
    assert distilled == set(range(EVENTS[1] + 1, DISTILL_STOP + 1))
    assert {steps[s]["train/learning_rate"] for s in range(EVENTS[0] + 1, DISTILL_STOP + 1)} == {
        0.003
    }
    crash = [CrashAfter(EVENTS[1] - 1)]  # the teacher is there and not heard yet
    with pytest.raises(CrashError):
        run_training(config, run_dir=tmp_path / "cut", run_id=ID, callbacks=crash)
    run_training(config, run_dir=tmp_path / "cut", run_id=ID)
    assert_same(outcome(tmp_path / "cut"), outcome(tmp_path / "whole"))


def test_a_rate_at_the_peak_begins_with_the_first_event(root, tmp_path):
    usual = build_trainer(tiny_experiment(root), run_dir=tmp_path, run_id=ID).learning_rate
    config = tiny_experiment(root, "training.lr_after_event=peak")
    rate = build_trainer(config, run_dir=tmp_path, run_id=ID).learning_rate
    assert next(step for step in range(36) if rate(step) != usual(step)) == EVENTS[0]
    assert [rate(step) for step in (EVENTS[0], DISTILL_STOP - 1)] == [0.003, 0.003]
    assert rate(DISTILL_STOP) == pytest.approx(0.0003)

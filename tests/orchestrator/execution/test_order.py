"""Trials that wait for their teachers."""

from dataclasses import replace
from pathlib import Path

from orchestrator.execution.order import has_its_teacher, teachers_first
from orchestrator.execution.status import TrialState, read_status
from tests.orchestrator.execution.test_sweep import finish, trial


def test_both_groups_keep_their_order(tmp_path: Path) -> None:
    a, b, c, d = (trial(tmp_path, name) for name in "abcd")
    a, c = replace(a, needs="id-d"), replace(c, needs="id-b")
    assert teachers_first([a, b, c, d]) == ([b, d], [a, c])


def test_a_trial_may_start_when_its_teacher_has_a_result(tmp_path: Path) -> None:
    teacher = trial(tmp_path, "teacher")
    taught = replace(trial(tmp_path, "taught"), needs=teacher.run_id)
    assert has_its_teacher(teacher)
    assert not has_its_teacher(taught)
    assert read_status(taught.run_dir).state is TrialState.FAILED
    assert "its teacher, run id-teacher, has no result" in read_status(taught.run_dir).reason
    finish(teacher)
    assert has_its_teacher(taught)

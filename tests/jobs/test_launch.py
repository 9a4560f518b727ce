import json
from dataclasses import replace
from pathlib import Path

import pytest

from apt_core.errors import UserError
from apt_core.report import RunReport
from jobs.common import make_console
from jobs.launch import (
    _verdict,
    launch,
    only_driver_of,
    record_members,
    say_goodput,
    warn_of_slowness,
)
from jobs.planning import Plan
from orchestrator.execution.status import TrialState, read_status
from orchestrator.execution.sweep import SweepOutcome, TrialFailure
from orchestrator.sweep_status import members_of
from tests.jobs.test_planning import plan_of
from tests.orchestrator.execution.standin import make_report
from tests.orchestrator.test_traces import begin, end, write


def finish_all(plan: Plan) -> None:
    """Give every trial a result, as if the sweep had run."""
    for trial in plan.trials:
        config, spec = trial.cell.config, trial.spec
        report: RunReport = replace(
            make_report(spec.run_id, spec.command),
            arm=config.arm,
            model="mine",
            dataset="mine",
            target_sparsity=config.pruning.target_sparsity if config.arm == "apt" else 0.0,
            sparsity=config.pruning.target_sparsity if config.arm == "apt" else 0.0,
        )
        spec.run_dir.mkdir(parents=True)
        (spec.run_dir / "config.json").write_text(json.dumps(spec.config))
        (spec.run_dir / "result.json").write_text(json.dumps(report.to_json()))


def test_a_finished_sweep_prints_its_table_again_and_starts_nothing(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = plan_of(project)
    finish_all(plan)
    assert launch(plan) == 0
    out = capsys.readouterr().out
    assert "lora" in out
    assert str(plan.sweep_dir / "report" / "report.md") in out
    assert (plan.sweep_dir / "report" / "report.html").exists()
    assert read_status(plan.sweep_dir).state is TrialState.FINISHED
    assert not (plan.sweep_dir / "ray").exists()


def test_failures_are_told_with_reason_and_log(capsys: pytest.CaptureFixture[str]) -> None:
    failure = TrialFailure("id1", "apt 0.6", "worker 0: boom", Path("/runs/id1/worker.log"))
    assert _verdict(SweepOutcome((), (), (failure,)), 4) == 1
    message = capsys.readouterr().err
    assert "1 of 4 trials failed" in message
    assert "apt 0.6 (id1): worker 0: boom; log: /runs/id1/worker.log" in message


def test_a_stop_is_told_and_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    assert _verdict(SweepOutcome((), (), (), "SIGTERM"), 4) == 1
    assert "stopped by SIGTERM; the same command continues" in capsys.readouterr().err
    assert _verdict(SweepOutcome((), (), ()), 4) == 0


def test_a_single_trial_joins_the_sweep_and_a_sweep_replaces_it(project: Path) -> None:
    plan = plan_of(project)
    plan.sweep_dir.mkdir(parents=True)
    members = plan.sweep_dir / "sweep.json"
    members.write_text(json.dumps({"run_ids": ["earlier"]}))
    first = plan.trials[0]
    record_members(replace(plan, config=first.cell.config, trials=(first,)))
    assert json.loads(members.read_text())["run_ids"] == ["earlier", first.spec.run_id]
    record_members(plan)
    assert json.loads(members.read_text())["run_ids"] == [t.run_id for t in plan.specs]


def test_a_grid_that_somebody_runs_is_not_run_a_second_time(project: Path) -> None:
    plan = plan_of(project)
    finish_all(plan)
    with only_driver_of(plan), pytest.raises(UserError, match="runs it already"):
        launch(plan)
    assert launch(plan) == 0


def test_single_trainings_share_a_folder_but_not_a_trial(project: Path) -> None:
    plan = plan_of(project)
    one, two = (
        replace(plan, config=trial.cell.config, trials=(trial,)) for trial in plan.trials[:2]
    )
    with only_driver_of(one), only_driver_of(two):
        for other in (one, plan):
            with pytest.raises(UserError), only_driver_of(other):
                pass


def test_members_are_recorded_with_what_a_table_needs(project: Path) -> None:
    plan = plan_of(project)
    record_members(plan)
    entry = dict(members_of(plan.sweep_dir))[plan.specs[3].run_id]
    assert entry == {"label": plan.specs[3].label, "arm": "apt", "total_steps": 100}


def test_where_the_time_went_is_told_once_there_is_something_to_tell(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = plan_of(project)
    finish_all(plan)
    assert launch(plan) == 0  # trains nothing
    assert "goodput" not in capsys.readouterr().out
    assert '"launch"' in (plan.sweep_dir / "trace.json").read_text()
    trials = begin("trials", 1, args={"slots": 1}), end("trials", 9)
    write(plan.sweep_dir / "trace.json", begin("launch", 0), *trials, end("launch", 10))
    write(plan.specs[0].run_dir / "trace.json", begin("training", 2), end("training", 7))
    say_goodput(plan.sweep_dir, make_console())
    out = capsys.readouterr().out
    assert "goodput: 50% of 1 slot x 10 s went into training steps" in out
    assert "lost to: empty slots 50%" in out


@pytest.mark.parametrize(
    ("setting", "lacking", "warned"),
    [("bf16", True, True), ("bf16", False, False), ("fp32", True, False)],
)
def test_a_precision_that_the_processor_must_emulate_is_told(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    setting: str,
    lacking: bool,
    warned: bool,
) -> None:
    monkeypatch.setattr("jobs.planning.lacks_bf16_units", lambda: lacking)
    warn_of_slowness(plan_of(project, f"hardware.precision={setting}"))
    assert ("hardware.precision=fp32" in caplog.text) == warned

import io
import json
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from apt_core.errors import ConfigError, UserError
from apt_core.models.structure import Structure
from apt_core.trainer.state import TrainerState
from jobs.common import exit_code_of, read_config
from jobs.launch import only_driver_of
from jobs.local import ProgressLines, check_world_size, run_here
from jobs.planning import Plan, make_plan
from jobs.preflight import Place
from orchestrator.execution.status import TrialState, read_status
from orchestrator.execution.trial import WorkerGroup
from tests.orchestrator.execution.standin import ENTRY, starts
from tests.small_disk import small_disk


def local_plan(project: Path, name: str) -> Plan:
    overrides = ["orchestration.grid=[]", f"name={name}"]
    config = read_config([str(project / "config.yaml")], overrides)
    return make_plan(config, [], Place.HERE, entry=ENTRY)


def test_a_local_training_runs_here_once(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RANK", raising=False)
    plan = local_plan(project, "good")
    spec = plan.trials[0].spec
    assert run_here(plan) == 0
    assert read_status(spec.run_dir).state is TrialState.FINISHED
    assert json.loads((spec.run_dir / "config.json").read_text())["name"] == "good"
    assert run_here(plan) == 0
    assert starts(spec.run_dir) == [0]
    assert "is finished; nothing to do" in capsys.readouterr().out


def test_a_training_that_somebody_runs_is_not_run_here_too(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RANK", raising=False)
    plan = local_plan(project, "good")
    with only_driver_of(plan), pytest.raises(UserError, match="runs it already"):
        run_here(plan)
    assert starts(plan.trials[0].spec.run_dir) == []


def test_a_failed_local_training_says_so_in_its_folder(project: Path) -> None:
    plan = local_plan(project, "broken")
    with pytest.raises(RuntimeError, match="a defect"):
        run_here(plan)
    status = read_status(plan.trials[0].spec.run_dir)
    assert (status.state, status.reason) == (TrialState.FAILED, "worker 0: a defect")


def test_a_signal_ends_a_local_training_in_good_order(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    plan = local_plan(project, "slow")
    run_dir = plan.trials[0].spec.run_dir
    sender = threading.Thread(target=_terminate_when, args=(run_dir / "checkpoint",))
    sender.start()
    try:
        assert run_here(plan) == 1
    finally:
        sender.join()
    assert capsys.readouterr().err == "error: stopped at step 1\n"
    assert read_status(run_dir).state is TrialState.KILLED
    assert signal.getsignal(signal.SIGTERM) == before


def _terminate_when(path: Path) -> None:
    """Send this process SIGTERM once there is such a file."""
    deadline = time.monotonic() + 30
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGTERM)


def test_torchrun_must_start_as_many_processes_as_configured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    check_world_size(WorkerGroup(num_workers=2))
    with pytest.raises(ConfigError, match="torchrun --nproc-per-node 1"):
        check_world_size(WorkerGroup(num_workers=1))


def test_progress_is_printed_at_evaluations_not_at_every_step() -> None:
    out = io.StringIO()
    lines = ProgressLines(Console(file=out, width=200))
    structure = Structure(8, ())
    state = TrainerState(10, structure, structure)
    lines.on_train_start(state)
    for step, metrics in ((1, {}), (2, {"train/loss": 0.5}), (3, {"eval/metric": 0.75})):
        lines.on_step_end(replace(state, step=step), metrics)
    assert out.getvalue() == "step 3/10, eval/metric 0.7500, 0 s left\n"


def test_a_full_disk_is_named_with_exit_code_1_and_room_lets_the_same_command_go_on(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with small_disk(project / "disk") as disk:
        config = read_config(
            [str(project / "config.yaml")],
            ["orchestration.grid=[]", f"orchestration.results_dir={disk.folder}"],
        )
        plan = make_plan(config, [], Place.HERE, entry=ENTRY)
        disk.fill()
        assert exit_code_of(lambda: run_here(plan)) == 1
        told = capsys.readouterr().err
        assert told.startswith(f"error: {disk.folder}")
        assert f"cannot be written: {disk.told}" in told
        assert "MiB free); free space or make it writable" in told
        assert "raceback" not in told
        disk.free()
        assert exit_code_of(lambda: run_here(plan)) == 0
        assert starts(plan.trials[0].spec.run_dir) == [0]

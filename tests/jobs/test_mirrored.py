"""A sweep whose folder is gone goes on from its copies; what fails there does not stop it."""

import logging
import shutil
import time
from pathlib import Path

import pytest

from apt_core.errors import UserError
from jobs.launch import launch
from jobs.mirrored import mirroring
from jobs.planning import Plan
from jobs.preflight import Place, Problems, check_surroundings
from orchestrator.execution.status import RESULT_FILE
from orchestrator.execution.stopping import StopSignal
from orchestrator.mirror import mirror
from orchestrator.mirror.remote import RemoteFolder
from tests.jobs.test_launch import finish_all
from tests.jobs.test_planning import plan_of


def mirrored_plan(project: Path) -> Plan:
    return plan_of(project, f"orchestration.mirror=file://{project}/copies")


def test_a_finished_sweep_whose_disk_is_gone_has_its_table_again(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = mirrored_plan(project)
    finish_all(plan)
    assert launch(plan) == 0
    results = [(spec.run_dir / RESULT_FILE).read_bytes() for spec in plan.specs]
    table = (plan.sweep_dir / "report" / "report.md").read_text(encoding="utf-8")
    copies = project / "copies" / plan.config.name
    assert sorted(path.name for path in copies.iterdir()) == sorted(s.run_id for s in plan.specs)
    capsys.readouterr()
    shutil.rmtree(project / "runs")
    assert launch(mirrored_plan(project)) == 0
    assert capsys.readouterr().out.count("brought back from its copy") == len(plan.specs)
    assert [(spec.run_dir / RESULT_FILE).read_bytes() for spec in plan.specs] == results
    assert (plan.sweep_dir / "report" / "report.md").read_text(encoding="utf-8") == table


def test_without_an_address_nothing_is_copied(project: Path) -> None:
    plan = plan_of(project)
    finish_all(plan)
    with mirroring(plan, StopSignal()):
        pass
    assert not (project / "copies").exists()


def refuse(*_: object) -> int:
    raise OSError("the network is gone")


@pytest.mark.parametrize("is_stopped", [False, True])
def test_copies_that_are_behind_at_the_end_are_told(
    project: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    is_stopped: bool,
) -> None:
    monkeypatch.setattr(mirror, "POLL_S", 0.02)
    monkeypatch.setattr(mirror, "STOP_TIMEOUT_S" if is_stopped else "END_TIMEOUT_S", 0.3)
    monkeypatch.setattr(RemoteFolder, "push", refuse)
    stop = StopSignal()
    stop.requested = is_stopped
    plan = mirrored_plan(project)
    finish_all(plan)
    begin = time.monotonic()
    with caplog.at_level(logging.WARNING), mirroring(plan, stop):
        pass
    assert time.monotonic() - begin < 4  # the other one is 5 s at least
    assert "4 of 4 copies at file://" in caplog.text
    assert "the same command sends them" in caplog.text


@pytest.mark.parametrize(
    ("address", "told"),
    [("s3x://bucket", "Protocol not known"), ("file://${NO_SUCH}/x", "NO_SUCH is not set")],
)
def test_a_storage_that_cannot_be_used_is_told_before_anything_starts(
    project: Path, address: str, told: str
) -> None:
    with pytest.raises(UserError, match=rf"orchestration\.mirror.*{told}"):
        plan_of(project, f"orchestration.mirror={address}")


def test_variables_of_the_environment_are_filled_in(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUCKET", str(project))
    orchestration = plan_of(project, "orchestration.mirror=file://${BUCKET}/x").config.orchestration
    assert orchestration.mirror_address == f"file://{project}/x"


def test_a_dry_run_asks_no_storage(project: Path) -> None:
    config = mirrored_plan(project).config
    shutil.rmtree(project / "copies")
    check_surroundings(config, Problems(), Place.NOWHERE)
    assert not (project / "copies").exists()

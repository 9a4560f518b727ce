"""A sweep whose folder is gone goes on from its copies; what fails there does not stop it."""

import logging
import shutil
from pathlib import Path

import pytest

from apt_core.errors import UserError
from jobs.launch import launch
from jobs.mirrored import mirroring
from jobs.planning import Plan
from jobs.preflight import Place, Problems, check_surroundings
from orchestrator.mirror import mirror
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
    table = capsys.readouterr().out
    copies = project / "copies" / plan.config.name
    assert sorted(path.name for path in copies.iterdir()) == sorted(s.run_id for s in plan.specs)
    shutil.rmtree(project / "runs")
    assert launch(mirrored_plan(project)) == 0
    again = capsys.readouterr()
    assert "apt" in table
    assert [line for line in table.splitlines() if "apt" in line][:2] == [
        line for line in again.out.splitlines() if "apt" in line and "brought back" not in line
    ][:2]
    assert "brought back from its copy" in again.out


def test_without_an_address_nothing_is_copied(project: Path) -> None:
    plan = plan_of(project)
    finish_all(plan)
    with mirroring(plan):
        pass
    assert not (project / "copies").exists()


def test_copies_that_are_behind_at_the_end_are_told(
    project: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "POLL_S", 0.02)
    monkeypatch.setattr(mirror.Mirror.close, "__defaults__", (0.3,))
    plan = mirrored_plan(project)
    finish_all(plan)
    with caplog.at_level(logging.WARNING), mirroring(plan):
        shutil.rmtree(project / "copies", ignore_errors=True)
        (project / "copies").write_text("no folder any more")
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

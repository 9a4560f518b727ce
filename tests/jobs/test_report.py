from pathlib import Path

import pytest

from apt_core.errors import DataError
from jobs.report import report
from tests.jobs.test_launch import finish_all
from tests.jobs.test_planning import plan_of


def test_a_report_is_built_again_from_the_folder(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = plan_of(project)
    finish_all(plan)
    assert report(plan.sweep_dir) == 0
    assert (plan.sweep_dir / "report" / "report.md").exists()
    assert "apt" in capsys.readouterr().out


def test_another_folder_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no trials/ folder"):
        report(tmp_path)

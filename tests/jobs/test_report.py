from pathlib import Path

import pytest

from apt_core.errors import ConfigError, DataError
from jobs.report import report
from tests.jobs.test_launch import finish_all
from tests.jobs.test_planning import plan_of
from tests.orchestrator.reports.synthetic_sweep import Trial
from tests.orchestrator.tracking.test_rebuild import FolderSource


def test_a_report_is_built_again_from_the_folder(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = plan_of(project)
    finish_all(plan)
    assert report(str(plan.sweep_dir)) == 0
    assert (plan.sweep_dir / "report" / "report.md").exists()
    assert "apt" in capsys.readouterr().out


def test_another_folder_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no trials/ folder"):
        report(str(tmp_path))


def test_a_tracking_server_alone_is_enough(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = FolderSource()
    source.add(Trial("ft"), "FINISHED")
    source.set_members("s1", 1, Trial("ft").run_id, "pending0")
    asked = []

    def connect(uri: str) -> FolderSource:
        asked.append(uri)
        return source

    monkeypatch.setattr("orchestrator.tracking.mlflow_source.MlflowSource", connect)
    assert report("demo", tracking_uri="http://tracker", into=tmp_path / "into") == 0
    assert asked == ["http://tracker"]
    page = (tmp_path / "into" / "demo" / "report" / "report.md").read_text()
    assert "1 of 1 trials finished" in page
    assert "not delivered: pending0." in page
    assert "ft" in capsys.readouterr().out


def test_options_of_the_server_without_one_are_refused(tmp_path: Path) -> None:
    for options in ({"experiment": "e"}, {"into": tmp_path}):
        with pytest.raises(ConfigError, match="go with --tracking-uri"):
            report(str(tmp_path), **options)

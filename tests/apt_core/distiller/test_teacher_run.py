"""The run behind an exported model."""

import json
from pathlib import Path

import pytest

from apt_core.distiller.teacher_run import teacher_run
from apt_core.errors import ConfigError
from tests.orchestrator.execution.standin import make_report


def finished(folder: Path, arm: str) -> Path:
    report = {**make_report("abc").to_json(), "arm": arm}
    (folder / "result.json").write_text(json.dumps(report))
    return folder / "export"


def test_the_report_beside_an_export_says_who_taught(tmp_path: Path) -> None:
    assert teacher_run(finished(tmp_path, "ft"), "ft").run_id == "abc"


def test_a_run_of_another_arm_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"teacher_path: is a run of arm lora.*one of arm ft"):
        teacher_run(finished(tmp_path, "lora"), "ft")


@pytest.mark.parametrize("content", [None, "", "{}", "[1]"])
def test_what_is_no_finished_run_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "result.json").write_text(content)
    with pytest.raises(ConfigError, match="not the export folder of a finished run"):
        teacher_run(tmp_path / "export", "ft")

from pathlib import Path

import pytest

from jobs import submit as module
from jobs.submit import submit
from tests.jobs.fake_job_server import connected


def test_a_grid_is_submitted_and_left_alone(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = connected(monkeypatch, module)
    assert submit([str(project / "config.yaml")], sets=["training.seed=3"]) == 0
    (job,) = server.jobs()
    assert server.configs[job.submission_id]["training"]["seed"] == 3
    assert f"aptune logs -f {job.submission_id}" in capsys.readouterr().out


def test_sources_go_along_and_the_log_is_shown_when_asked_for(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = connected(monkeypatch, module)
    assert submit([str(project / "config.yaml")], with_code=True, wait=True) == 0
    (job,) = server.jobs()
    assert server.commands[job.submission_id].startswith("exec python -m jobs.cli")
    assert capsys.readouterr().out.endswith("a line\n")

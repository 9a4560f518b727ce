from pathlib import Path

import pytest

from jobs.common import exit_code_of
from jobs.explain import app, explain
from tests.orchestrator.reports.synthetic_sweep import Trial, make_report, write_trial

APT = Trial("apt", 0.6)


def test_a_run_is_explained_in_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_trial(tmp_path, APT)
    assert explain(str(folder)) == 0
    out = capsys.readouterr().out
    for words in ("Surgeries", "Structure since the start", "At the border", "Time and memory"):
        assert words in out
    cut = make_report(APT).surgeries[-1]
    assert f"{cut['border']['head']['first_cut'][0]['density']:.3g}" in out
    assert "the least dense go until" in out


def test_figures_of_the_run_are_drawn_where_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_trial(tmp_path, APT)
    assert explain(str(folder), figures=tmp_path / "figures") == 0
    names = sorted(path.name for path in (tmp_path / "figures").iterdir())
    endings = ("csv", "pdf", "png", "svg")
    kinds = ("ranks", "salience", "structure")
    assert names == [f"{kind}.{end}" for kind in kinds for end in endings]
    assert str(tmp_path / "figures" / "structure.svg") in capsys.readouterr().out


def test_a_run_without_a_result_is_explained_from_its_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_trial(tmp_path, APT, status={"state": "RUNNING"}, stop_at=50)
    assert explain(str(folder), figures=tmp_path / "figures") == 0
    out = capsys.readouterr().out
    assert f"{APT.run_id}: running" in out
    assert "Layers, ranks and borders stand in result.json" in out
    assert "figures: none" in out


def test_a_name_that_means_no_run_is_the_users_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["nothing", "--results-dir", str(tmp_path)]
    assert exit_code_of(lambda: app(arguments, standalone_mode=False)) == 2
    assert capsys.readouterr().err.startswith("error: RUN: 'nothing' is no folder of a trial")

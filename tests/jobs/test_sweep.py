from pathlib import Path

import pytest

from jobs.sweep import sweep


def test_flags_set_the_base_of_the_grid(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep([str(project / "config.yaml")], sets=["training.seed=3"], dry_run=True) == 0
    out = capsys.readouterr().out
    assert "# 4 trials" in out
    assert "apt 0.6 mine mine seed 3" in out

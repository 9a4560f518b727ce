from pathlib import Path

import pytest

from jobs.common import AblationChoice
from jobs.train import train


def test_train_ignores_the_grid_and_takes_the_flags(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = train(
        [str(project / "config.yaml")],
        sets=["training.seed=3"],
        model_type="mine",
        dataset="mine",
        sparsity_level=0.3,
        ablation=AblationChoice.WITHOUT_DISTILLATION,
        dry_run=True,
    )
    assert code == 0
    out = capsys.readouterr().out
    assert "# 1 trials" in out
    assert "apt w/o_Ds 0.3 mine mine seed 3" in out

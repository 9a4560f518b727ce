"""Whole tiny runs of any family, for workers: JSON arguments in, JSON results out."""

from pathlib import Path
from typing import Any

from apt_core.trainer.build import run_training
from tests.reference.training_cases import ID, decisions
from tests.tiny_families import family_experiment


def run_family(
    root: str, run_dir: str, family: str, kind: str, overrides: list[str]
) -> dict[str, Any]:
    """One run without dropout; its decisions and what it scored."""
    config = family_experiment(Path(root), family, kind, *overrides, dropout=0.0)
    report = run_training(config, run_dir=Path(run_dir), run_id=ID)
    return {
        "decisions": decisions(report),
        "metrics": dict(report.metrics),
        "sparsity": report.sparsity,
    }


def run_families(
    root: str, run_dir: str, cases: list[tuple[str, str]], overrides: list[str]
) -> dict[str, Any]:
    """Several of them in one process, which imports DeepSpeed once."""
    return {
        family: run_family(root, f"{run_dir}/{family}", family, kind, overrides)
        for family, kind in cases
    }

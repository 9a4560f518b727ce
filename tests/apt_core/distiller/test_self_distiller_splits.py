"""One batch, its micro-batches and its workers' shares have the same distillation loss."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.reference.distillation_splits import gradients, save_gradients
from tests.spawn import run_workers
from tests.tiny_families import family_experiment

CASES = [("roberta", "classification"), ("t5-gated", "summarization"), ("llama", "instruction")]
EACH = pytest.mark.parametrize(("family", "kind"), CASES)
MASKED = "distillation.mask_padding=true"
WHOLE, TWO_ROWS = (f"training.micro_batch_size={rows}" for rows in (8, 2))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With every model and data set written: workers that find none would write them at once."""
    folder = tmp_path_factory.mktemp("splits")
    for family, kind in CASES:
        family_experiment(folder, family, kind, dropout=0.0)
    return folder


def difference(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    assert ours.keys() == theirs.keys()
    return max(float((ours[name] - theirs[name]).abs().max()) for name in ours)


@EACH
def test_four_micro_batches_have_the_gradient_of_their_batch(
    root: Path, family: str, kind: str
) -> None:
    whole = gradients(str(root), family, kind, [MASKED, WHOLE])
    parts = gradients(str(root), family, kind, [MASKED, TWO_ROWS])
    assert {n.split(".")[0] for n, g in whole.items() if g.abs().max() > 1e-3} == {
        "student",
        "projection",
    }
    assert difference(parts, whole) <= 1e-6


@EACH
def test_where_padding_counts_the_division_matters(root: Path, family: str, kind: str) -> None:
    whole, parts = (gradients(str(root), family, kind, [size]) for size in (WHOLE, TWO_ROWS))
    assert difference(parts, whole) > 1e-4


@pytest.mark.distributed
@pytest.mark.parametrize("rows", [4, 2])
def test_two_workers_have_the_gradient_of_one(root: Path, tmp_path: Path, rows: int) -> None:
    saved = tmp_path / "gradients.pt"
    overrides = [MASKED, f"training.micro_batch_size={rows}"]
    run_workers(save_gradients, root=str(root), path=str(saved), cases=CASES, overrides=overrides)
    shared = torch.load(saved, weights_only=True)
    for family, kind in CASES:
        whole = gradients(str(root), family, kind, [MASKED, WHOLE])
        assert difference(shared[f"{family} {kind}"], whole) <= 1e-6

"""The evaluator on one worker, and on shares that other workers would send."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from apt_core.errors import TrainingError
from apt_core.evaluator import evaluator as evaluator_module
from apt_core.evaluator.evaluator import Evaluator
from apt_core.models.trained_modules import TrainedModules


class Echo(nn.Module):
    """Its logits are its inputs, its loss what the batch says."""

    def forward(self, logits: Tensor, labels: Tensor, loss: Tensor) -> SimpleNamespace:
        assert not self.training
        assert not torch.is_grad_enabled()
        return SimpleNamespace(logits=logits, loss=loss)


class PlainEngine:
    """Calls the module and nothing else."""

    def __init__(self) -> None:
        self.module = TrainedModules(Echo()).train()

    def __call__(self, *args: Any) -> Any:
        return self.module(*args)


def batch_of(predicted: list[int], labels: list[int], loss: float) -> dict[str, Tensor]:
    return {
        "logits": nn.functional.one_hot(torch.tensor(predicted), 3).float(),
        "labels": torch.tensor(labels),
        "loss": torch.tensor(loss),
    }


def evaluate(*batches: tuple[dict[str, Tensor], int]) -> dict[str, float]:
    engine: Any = PlainEngine()
    values = Evaluator(lambda: batches, "accuracy").evaluate(engine)
    assert not engine.module.training
    return values


def test_the_metric_counts_rows_and_the_loss_is_weighted_by_them() -> None:
    values = evaluate(
        (batch_of([0, 1, 2], [0, 1, 1], 0.5), 3),
        (batch_of([2], [2], 2.5), 1),
    )
    assert values == {"eval/accuracy": 0.75, "eval/metric": 0.75, "eval/loss": 1.0}


def test_rows_beyond_the_real_ones_do_not_count() -> None:
    values = evaluate(
        (batch_of([0, 1], [0, 2], 1.0), 2),
        (batch_of([0, 0], [1, 1], 99.0), 0),  # this worker ran out and repeats a row
    )
    assert values == {"eval/accuracy": 0.5, "eval/metric": 0.5, "eval/loss": 1.0}


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_an_error_with_advice(loss: float) -> None:
    with pytest.raises(TrainingError, match=rf"loss is {loss}: lower training\.learning_rate"):
        evaluate((batch_of([0], [0], loss), 1))


def test_all_workers_shares_are_scored_together(monkeypatch: pytest.MonkeyPatch) -> None:
    def gather(shares: list[Any], own: tuple[Tensor, ...]) -> None:
        other = (torch.tensor([1, 1, 1]), torch.tensor([1, 0, 0]), torch.tensor([9.0]))
        shares[:] = [own, other]

    monkeypatch.setattr(evaluator_module, "world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    values = evaluate((batch_of([2], [2], 1.0), 1))
    assert values == {"eval/accuracy": 0.5, "eval/metric": 0.5, "eval/loss": 2.5}

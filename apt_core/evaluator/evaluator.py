"""Evaluator: scores the student on the evaluation split, over all workers."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.distributed
from torch import Tensor

from apt_core.errors import TrainingError
from apt_core.evaluator.metrics import METRICS
from apt_core.models.trained_modules import TrainedModules
from apt_core.trainer.distributed import world_size
from apt_core.trainer.engine import Engine

EvalBatches = Callable[[], Iterable[tuple[Mapping[str, Tensor], int]]]


class Evaluator:
    """Runs the student over the evaluation split and computes the task's metric.

    Args:
        batches: gives this worker's share of the split: (batch, number of real rows).
        metric_name: a key of `METRICS`.
    """

    def __init__(self, batches: EvalBatches, metric_name: str) -> None:
        self.batches = batches
        self.metric_name = metric_name

    @torch.no_grad()
    def evaluate(self, engine: Engine) -> dict[str, float]:
        """Score the student.

        Args:
            engine: the live engine; its module is left in evaluation mode.

        Returns:
            ``eval/<metric>``, the same as ``eval/metric``, and ``eval/loss``.

        Raises:
            TrainingError: the model gives values that are not finite.
        """
        engine.module.eval()
        predictions: list[Tensor] = []
        labels: list[Tensor] = []
        total_loss = 0.0
        for batch, num_rows in self.batches():
            outputs = engine(_predict, batch)
            predictions.append(outputs["logits"][:num_rows].argmax(-1).cpu())
            labels.append(batch["labels"][:num_rows].cpu())
            total_loss += float(outputs["loss"]) * num_rows
        predicted, expected, losses = _gather(
            torch.cat(predictions), torch.cat(labels), torch.tensor([total_loss])
        )
        loss = float(losses.sum()) / len(expected)
        if not math.isfinite(loss):
            raise TrainingError(
                f"the evaluation loss is {loss}: lower training.learning_rate, or set "
                "hardware.precision to bf16 or fp32"
            )
        value = METRICS[self.metric_name](predicted, expected)
        return {f"eval/{self.metric_name}": value, "eval/metric": value, "eval/loss": loss}


def _predict(modules: TrainedModules, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    outputs = modules.student(**batch)
    return {"logits": outputs.logits, "loss": outputs.loss}


def _gather(*tensors: Tensor) -> list[Tensor]:
    """Concatenate each tensor over the workers."""
    if world_size() == 1:
        return list(tensors)
    shares: list[Any] = [None] * world_size()
    torch.distributed.all_gather_object(shares, tensors)
    return [torch.cat(parts) for parts in zip(*shares, strict=True)]

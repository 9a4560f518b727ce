"""Evaluator: scores the student on the evaluation splits, over all workers."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed
from torch import Tensor

from apt_core.data.references import References
from apt_core.errors import TrainingError
from apt_core.evaluator.predict import Predictor
from apt_core.evaluator.scorers import Scorer
from apt_core.trainer.distributed import world_size
from apt_core.trainer.engine import Engine

EvalBatches = Callable[[str | None], Iterable[tuple[Mapping[str, Tensor], int]]]


class Evaluator:
    """Runs the student over an evaluation split and computes the task's metrics.

    Args:
        batches: split (None: the main one) -> this worker's share of it on the model's device, as
            pairs of a batch with its ``row`` numbers and the count of its rows that count.
        references: split (None: the main one) -> the expected values of all its rows.
        predictor: asks the student.
        scorer: compares with the references.
        metric_name: the main one of the scorer's metrics.
    """

    def __init__(
        self,
        *,
        batches: EvalBatches,
        references: Callable[[str | None], References],
        predictor: Predictor,
        scorer: Scorer,
        metric_name: str,
    ) -> None:
        self.batches = batches
        self.references = references
        self.predictor = predictor
        self.scorer = scorer
        self.metric_name = metric_name

    @torch.no_grad()
    def evaluate(self, engine: Engine, split: str | None = None) -> dict[str, float]:
        """Score the student.

        Args:
            engine: the live engine; its module is left in evaluation mode.
            split: another split than the main one.

        Returns:
            ``eval/<metric>`` for every metric of the task, the main one once more as
            ``eval/metric``, and ``eval/loss``; for another split ``eval/<split>/...``.

        Raises:
            TrainingError: the model gives values that are not finite.
        """
        engine.module.eval()
        share = _Share()
        for batch, num_rows in self.batches(split):
            outputs = engine(self.predictor.forward, batch)
            real = {name: tensor[:num_rows] for name, tensor in outputs.items()}
            share.total_loss += float(real["losses"].double().sum())
            share.total_weight += float(real["weights"].double().sum())
            if num_rows:
                rows = batch["row"][:num_rows].tolist()
                share.by_row |= zip(rows, self.predictor.predictions(real), strict=True)
        whole = _together(share)
        loss = _finite_loss(whole)
        references = self.references(split)
        scores = self.scorer(_in_order(whole.by_row, references), references)
        metrics = {**scores, "metric": scores[self.metric_name], "loss": loss}
        prefix = "eval" if split is None else f"eval/{split}"
        return {f"{prefix}/{name}": value for name, value in metrics.items()}


@dataclass
class _Share:
    """What one worker, or all of them, found."""

    by_row: dict[int, Any] = field(default_factory=dict)
    total_loss: float = 0.0
    total_weight: float = 0.0


def _together(share: _Share) -> _Share:
    if world_size() == 1:
        return share
    shares: list[Any] = [None] * world_size()
    torch.distributed.all_gather_object(shares, share)
    whole = _Share()
    for other in shares:
        whole.by_row |= other.by_row
        whole.total_loss += other.total_loss
        whole.total_weight += other.total_weight
    return whole


def _finite_loss(whole: _Share) -> float:
    loss = whole.total_loss / whole.total_weight if whole.total_weight else 0.0
    if not math.isfinite(loss):
        raise TrainingError(
            f"the evaluation loss is {loss}: lower training.learning_rate, or set "
            "hardware.precision to bf16 or fp32"
        )
    return loss


def _in_order(by_row: Mapping[int, Any], references: References) -> list[Any]:
    """Predictions in the order of the rows (or windows) that the references describe."""
    windows = references.windows
    num_rows = len(references.targets if windows is None else windows.rows)
    if by_row.keys() != set(range(num_rows)):
        raise ValueError(f"{num_rows} rows are to be predicted, got {len(by_row)} others")
    return [by_row[row] for row in range(num_rows)]

"""DatasetLoader: the training and evaluation batches of one worker."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from apt_core.data.references import References
from apt_core.data.tasks import TaskSpec
from apt_core.data.token_cache import TokenizedSplit, load_tokenized
from apt_core.errors import ConfigError

Batch = dict[str, Tensor]
SUBSET_SEED = 0
"""`train_rows` picks the same rows whatever the run's seed: seeds differ in their order alone."""


class DatasetLoader:
    """Batches of one worker as a pure function of (seed, step): resuming needs no state.

    Args:
        task: The dataset.
        tokenizer: A Hugging Face tokenizer.
        max_length: Longer rows are cut.
        seed: Seed of the order of the training rows.
        batch_size: Rows per optimizer step, over all workers.
        eval_batch_size: Rows per forward pass of an evaluation.
        cache_dir: Folder of tokenised datasets, shared by workers and trials.
        micro_batch_size: Rows per forward pass of one worker; None: the worker's whole share.
        train_rows: Train on at most so many rows, drawn once and for all; None: all.
        eval_rows: Evaluate on at most the first so many rows; None: all.
        rank: Number of this worker.
        world_size: Number of workers.
        pad_to_multiple_of: Widths are rounded up to a multiple of this.

    Raises:
        ConfigError: When the batch does not divide over workers and micro-batches, or there are
            fewer rows than that.
        DataError: When the dataset cannot be read or does not hold what the task needs.
    """

    def __init__(
        self,
        task: TaskSpec,
        tokenizer: Any,
        *,
        max_length: int,
        seed: int,
        batch_size: int,
        eval_batch_size: int,
        cache_dir: Path,
        micro_batch_size: int | None = None,
        train_rows: int | None = None,
        eval_rows: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        pad_to_multiple_of: int = 1,
    ) -> None:
        self.seed, self.batch_size, self.eval_batch_size = seed, batch_size, eval_batch_size
        self.rank, self.world_size = rank, world_size
        self.share = batch_size // world_size
        self.micro_batch_size = micro_batch_size or self.share
        self.pad_to_multiple_of = pad_to_multiple_of
        self._padding = {"input_ids": tokenizer.pad_token_id or 0}
        self._pad_left = tokenizer.padding_side == "left"
        self._check_division()
        self._train, self._eval = (
            load_tokenized(task, split, tokenizer, max_length=max_length, cache_dir=cache_dir)
            for split in (task.train_split, task.eval_split)
        )
        self.eval_split = task.eval_split
        self._train_indices = _subset(self._train.num_rows, train_rows)
        self.num_train_rows = len(self._train_indices)
        self.num_eval_rows = min(self._eval.num_rows, eval_rows or self._eval.num_rows)
        if self.steps_per_epoch == 0:
            raise ConfigError(
                f"training.batch_size: one batch needs more rows than dataset {task.name} trains "
                f"on (got {batch_size}, rows: {self.num_train_rows}); lower it, or raise "
                "data.train_rows"
            )

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in one pass over the training rows; the rest of a pass is left out."""
        return self.num_train_rows // self.batch_size

    @property
    def mean_eval_length(self) -> float:
        """Mean number of tokens of the evaluation rows."""
        return float(self._eval.lengths[: self.num_eval_rows].mean())

    def train_batches(self, start_step: int = 0) -> Iterator[list[Batch]]:
        """Endless batches from a step on.

        Step t takes rows ``[i * B : (i + 1) * B]`` of its epoch's permutation, where epoch, i =
        divmod(t, steps per epoch); worker r of w takes the r-th of w equal pieces of them.

        Args:
            start_step: Number of steps already done.

        Yields:
            This worker's micro-batches of one step.
        """
        step = start_step
        while True:
            epoch, first = divmod(step, self.steps_per_epoch)
            order = self._epoch_order(epoch)
            for at in range(first, self.steps_per_epoch):
                start = at * self.batch_size + self.rank * self.share
                rows = order[start : start + self.share]
                if self.micro_batch_size < self.share:
                    # Rows of like length share a micro-batch, so that less padding is computed.
                    rows.sort(key=self._train.length_of)
                yield [
                    self._collate(self._train, rows[m : m + self.micro_batch_size])
                    for m in range(0, self.share, self.micro_batch_size)
                ]
                step += 1

    def references(self, split: str | None = None) -> References:
        """What predictions of the evaluation split are compared with, by row."""
        assert split in {None, self.eval_split}
        return References(tuple(self._eval.labels[: self.num_eval_rows].tolist()))

    def eval_batches(self, split: str | None = None) -> Iterator[tuple[Batch, int]]:
        """This worker's part of the evaluation split; all parts together hold every row once.

        Args:
            split: The evaluation split; None: the same.

        Yields:
            A batch with its row numbers, and how many rows count. Every worker gets equally many
            batches, because a forward pass may need all of them: a worker that runs out repeats a
            row, and says 0.
        """
        assert split in {None, self.eval_split}
        by_length = sorted(range(self.num_eval_rows), key=self._eval.length_of)
        rows = by_length[self._eval_slice(self.rank)]
        for start in range(0, self._max_eval_share(), self.eval_batch_size):
            chunk = rows[start : start + self.eval_batch_size]
            batch = self._collate(self._eval, chunk or range(1))
            yield {**batch, "row": torch.tensor(chunk or [0])}, len(chunk)

    def sample_batches(self, batch_size: int, count: int = 4) -> list[Batch]:
        """The first full batches of the evaluation split as it lies there, for timing.

        Args:
            batch_size: Rows per batch.
            count: How many batches at most.

        Returns:
            At least one batch; a short one when the split has fewer rows.
        """
        starts = range(0, self.num_eval_rows - batch_size + 1, batch_size)[:count]
        return [
            self._collate(self._eval, range(start, min(start + batch_size, self.num_eval_rows)))
            for start in starts or range(1)
        ]

    def _check_division(self) -> None:
        piece = self.world_size * self.micro_batch_size
        if self.batch_size < piece or self.batch_size % piece:
            raise ConfigError(
                f"training.batch_size: is not a multiple of {self.world_size} workers x "
                f"{self.micro_batch_size} rows per micro-batch (got {self.batch_size}); set it to "
                f"a multiple of {piece}"
            )

    def _epoch_order(self, epoch: int) -> list[int]:
        order = list(self._train_indices)
        random.Random(f"{self.seed} {epoch}").shuffle(order)
        return order

    def _max_eval_share(self) -> int:
        return -(-self.num_eval_rows // self.world_size)

    def _eval_slice(self, rank: int) -> slice:
        share = self._max_eval_share()
        return slice(rank * share, (rank + 1) * share)

    def _collate(self, split: TokenizedSplit, rows: Sequence[int]) -> Batch:
        """Pad rows to the longest of them."""
        spans = [(split.offsets[row], split.offsets[row + 1]) for row in rows]
        multiple = self.pad_to_multiple_of
        width = -(-max(stop - start for start, stop in spans) // multiple) * multiple
        batch = {
            name: np.full((len(spans), width), self._padding.get(name, 0), dtype=np.int64)
            for name in split.columns
        }
        mask = np.zeros((len(spans), width), dtype=np.int64)
        for index, (start, stop) in enumerate(spans):
            at = slice(width - (stop - start), width) if self._pad_left else slice(stop - start)
            mask[index, at] = 1
            for name, column in split.columns.items():
                batch[name][index, at] = column[start:stop]
        batch["attention_mask"] = mask
        batch["labels"] = split.labels[list(rows)]
        return {name: torch.from_numpy(array) for name, array in batch.items()}


def _subset(num_rows: int, wanted: int | None) -> list[int]:
    if wanted is None or wanted >= num_rows:
        return list(range(num_rows))
    return sorted(random.Random(SUBSET_SEED).sample(range(num_rows), wanted))

"""DatasetLoader: the training and evaluation batches of one worker."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from apt_core.data.batch import Batch, Collator
from apt_core.data.evaluated import EvaluatedSplit
from apt_core.data.features import FeatureSettings
from apt_core.data.order import calibration_items, draw_subset, epoch_batches
from apt_core.data.reader import SplitReader
from apt_core.data.references import References
from apt_core.data.tasks import TaskSpec
from apt_core.data.tokenized import TokenizedSplit
from apt_core.data.vocabulary import pad_id
from apt_core.errors import ConfigError


class DatasetLoader:
    """Batches of one worker as a pure function of (seed, step): resuming needs no state.

    Rows are what the dataset has; items are what the model reads: rows, or with the head
    question_answering the windows of rows.

    Args:
        task: The dataset.
        tokenizer: A Hugging Face tokenizer.
        max_length: Tokens of a text, a window or a prompt; longer ones are cut.
        seed: Seed of the order of the training rows.
        batch_size: Items per optimizer step, over all workers.
        eval_batch_size: Items per forward pass of an evaluation.
        cache_dir: Folder of tokenised datasets, shared by workers and trials.
        head: ``sequence_classification``, ``question_answering``, ``seq2seq_lm`` or ``causal_lm``.
        max_target_length: Tokens of a target that is generated.
        doc_stride: Tokens that two windows of a context share.
        micro_batch_size: Items per forward pass of one worker; None: the worker's whole share.
        train_rows: Train on at most so many rows, drawn once and for all; None: all.
        eval_rows: Evaluate on at most the first so many rows of each split; None: all.
        holdout_rows: Training rows that are kept out of training and make up split ``holdout``.
        bucket_batches: Batches whose items are sorted by length together; 1: no sorting.
        vocab_size: Rows of the model's embedding; None: the tokenizer is believed to fit.
        rank: Number of this worker.
        world_size: Number of workers.
        pad_to_multiple_of: Widths are rounded up to a multiple of this, though not beyond the
            longest that these settings allow.

    Raises:
        ConfigError: When the batch does not divide over workers and micro-batches, or there are
            fewer rows than that.
        DataError: When the dataset cannot be read or does not hold what the task needs, or the
            tokenizer does not fit the model.
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
        head: str = "sequence_classification",
        max_target_length: int = 128,
        doc_stride: int = 128,
        micro_batch_size: int | None = None,
        train_rows: int | None = None,
        eval_rows: int | None = None,
        holdout_rows: int = 0,
        bucket_batches: int = 50,
        vocab_size: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        pad_to_multiple_of: int = 1,
    ) -> None:
        self.task, self.head = task, head
        self.seed, self.batch_size, self.eval_batch_size = seed, batch_size, eval_batch_size
        self.bucket_batches, self.rank, self.world_size = bucket_batches, rank, world_size
        self.share = batch_size // world_size
        self.micro_batch_size = micro_batch_size or self.share
        self._check_division()
        pad_left = tokenizer.padding_side == "left" and head == "sequence_classification"
        max_width = max_length + (max_target_length if head == "causal_lm" else 0)
        self._collate = Collator(pad_id(tokenizer), pad_left, pad_to_multiple_of, max_width)
        reader = SplitReader(
            task,
            tokenizer,
            FeatureSettings(max_length, head, max_target_length, doc_stride),
            cache_dir=cache_dir,
            vocab_size=vocab_size,
            holdout_rows=holdout_rows,
        )
        self._train = reader.train
        self._items = _trained_items(self._train, draw_subset(reader.train_rows, train_rows))
        self._lengths, self._target_lengths = self._train.lengths, self._train.target_lengths
        self._evaluated = {
            split: reader.evaluated(split, eval_rows) for split in reader.eval_splits
        }
        self._check_enough()

    @property
    def num_train_rows(self) -> int:
        """Items that are trained on: rows, or with the head question_answering windows."""
        return len(self._items)

    @property
    def num_eval_rows(self) -> int:
        """Rows of the main evaluation split."""
        return len(self._main.rows)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in one pass over the training items; the rest of a pass is left out."""
        return self.num_train_rows // self.batch_size

    @property
    def eval_splits(self) -> tuple[str, ...]:
        """Every split that is evaluated, the main one first; ``holdout`` whenever there is one."""
        return tuple(self._evaluated)

    @property
    def mean_eval_length(self) -> float:
        """Mean number of input tokens of the items of the main evaluation split."""
        return self._main.mean_length

    @property
    def mean_eval_target_length(self) -> float:
        """Mean number of target tokens of these items; 0 for heads that write no text."""
        return self._main.mean_target_length

    def train_batches(self, start_step: int = 0) -> Iterator[list[Batch]]:
        """Endless batches from a step on.

        Step t takes batch i of its epoch's `epoch_batches`, where epoch, i = divmod(t, steps per
        epoch); worker r of w takes the r-th of w equal pieces of it. ``loss_weight`` is
        (label tokens of the micro-batch) * (micro-batches of the step, over all workers) / (label
        tokens of the step); 1 for heads that write no text.

        Args:
            start_step: Number of steps already done.

        Yields:
            This worker's micro-batches of one step.
        """
        epoch, first = divmod(start_step, self.steps_per_epoch)
        while True:
            for step_items in self._epoch(epoch)[first:]:
                items = step_items[self.rank * self.share : (self.rank + 1) * self.share]
                if self.micro_batch_size < self.share:
                    # Rows of like length share a micro-batch, so that less padding is computed.
                    items.sort(key=self._length_of)
                yield [
                    self._train_batch(items[m : m + self.micro_batch_size], step_items)
                    for m in range(0, self.share, self.micro_batch_size)
                ]
            epoch, first = epoch + 1, 0

    def eval_batches(self, split: str | None = None) -> Iterator[tuple[Batch, int]]:
        """This worker's part of an evaluation split; all parts together hold every item once.

        Args:
            split: One of `eval_splits`; None: the main one.

        Yields:
            A batch and its number of items. ``row`` is the place of each in `references`. Every
            worker gets equally many batches, because a forward pass may need all of them: a worker
            that runs out repeats an item, and says 0.
        """
        part = self._part(split)
        lengths = part.tokens.lengths[part.items]
        by_length = np.argsort(lengths, kind="stable").tolist()
        share = -(-len(by_length) // self.world_size)
        places = by_length[self.rank * share : (self.rank + 1) * share]
        for start in range(0, share, self.eval_batch_size):
            chunk = places[start : start + self.eval_batch_size]
            shown = chunk or [0]
            batch = self._collate(part.tokens, part.items[shown].tolist())
            yield {**batch, "row": torch.tensor(shown)}, len(chunk)

    def references(self, split: str | None = None) -> References:
        """What predictions for an evaluation split are compared with: all rows, on every worker.

        Args:
            split: One of `eval_splits`; None: the main one.

        Returns:
            Targets, contexts and windows.
        """
        return self._part(split).references

    def sample_batches(self, batch_size: int, count: int = 4) -> list[Batch]:
        """The first full batches of the main evaluation split as it lies there, for timing.

        Args:
            batch_size: Items per batch.
            count: How many batches at most.

        Returns:
            At least one batch; a short one when the split has fewer items.
        """
        return self._full_batches(self._main.tokens, self._main.items.tolist(), batch_size, count)

    def calibration_batches(self, batch_size: int, count: int) -> list[Batch]:
        """Training batches in an order that neither seed nor worker changes, for one-shot pruning.

        Args:
            batch_size: Items per batch.
            count: How many batches at most.

        Returns:
            At least one batch, without ``loss_weight``; a short one when there are fewer items.
        """
        return self._full_batches(self._train, calibration_items(self._items), batch_size, count)

    def _full_batches(
        self, tokens: TokenizedSplit, items: list[int], batch_size: int, count: int
    ) -> list[Batch]:
        starts = range(0, len(items) - batch_size + 1, batch_size)[:count]
        return [
            self._collate(tokens, items[start : start + batch_size]) for start in starts or range(1)
        ]

    @property
    def _main(self) -> EvaluatedSplit:
        return self._evaluated[self.task.eval_split]

    def _part(self, split: str | None) -> EvaluatedSplit:
        return self._evaluated[split or self.task.eval_split]

    def _check_division(self) -> None:
        piece = self.world_size * self.micro_batch_size
        if self.batch_size < piece or self.batch_size % piece:
            raise ConfigError(
                f"training.batch_size: is not a multiple of {self.world_size} workers x "
                f"{self.micro_batch_size} rows per micro-batch (got {self.batch_size}); set it to "
                f"a multiple of {piece}"
            )

    def _check_enough(self) -> None:
        if self.steps_per_epoch == 0:
            raise ConfigError(
                f"training.batch_size: one batch needs more rows than dataset {self.task.name} "
                f"trains on (got {self.batch_size}, rows: {self.num_train_rows}); lower it, or "
                "raise data.train_rows"
            )

    def _epoch(self, epoch: int) -> list[list[int]]:
        return epoch_batches(
            self._items,
            seed=self.seed,
            epoch=epoch,
            batch_size=self.batch_size,
            bucket_batches=self.bucket_batches,
            length_of=self._length_of,
        )

    def _length_of(self, item: int) -> tuple[int, int]:
        """Sort key: input tokens, then target tokens."""
        return int(self._lengths[item]), int(self._target_lengths[item])

    def _train_batch(self, items: Sequence[int], step_items: Sequence[int]) -> Batch:
        of_step = int(self._target_lengths[list(step_items)].sum())
        weight = 1.0
        if of_step:
            num_micro_batches = self.batch_size // self.micro_batch_size
            of_batch = int(self._target_lengths[list(items)].sum())
            weight = of_batch * num_micro_batches / of_step
        return {**self._collate(self._train, items), "loss_weight": torch.tensor(weight)}


def _trained_items(tokens: TokenizedSplit, rows: Sequence[int]) -> list[int]:
    chosen = np.isin(tokens.rows, rows) & tokens.trainable
    return [int(item) for item in np.flatnonzero(chosen)]

"""SplitReader: the tokenised splits of one dataset for one model."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from apt_core.data.checks import field
from apt_core.data.evaluated import EvaluatedSplit
from apt_core.data.features import FeatureSettings
from apt_core.data.order import draw_holdout
from apt_core.data.tasks import HOLDOUT, TaskSpec
from apt_core.data.token_cache import load_tokenized
from apt_core.data.tokenized import TokenizedSplit
from apt_core.data.vocabulary import check_ids, check_vocabulary, pad_id
from apt_core.errors import ConfigError


class SplitReader:
    """Reads the splits of a dataset, and divides the training split.

    Args:
        task: The dataset.
        tokenizer: A Hugging Face tokenizer.
        settings: Head and lengths.
        cache_dir: Folder of tokenised datasets.
        vocab_size: Rows of the model's embedding; None: the tokenizer is believed to fit.
        holdout_rows: Training rows that are kept out of training.

    Raises:
        ConfigError: When no training row is left.
        DataError: When the tokenizer is larger than the model's vocabulary, or the training split
            cannot be read.
    """

    def __init__(
        self,
        task: TaskSpec,
        tokenizer: Any,
        settings: FeatureSettings,
        *,
        cache_dir: Path,
        vocab_size: int | None,
        holdout_rows: int,
    ) -> None:
        self.task = task
        self._tokenizer, self._settings, self._cache_dir = tokenizer, settings, cache_dir
        self._vocab_size = vocab_size
        if vocab_size is not None:
            check_vocabulary(tokenizer, vocab_size)
        self.train = self._read(task.train_split, with_spans=holdout_rows > 0)
        num_rows = self.train.num_rows
        if holdout_rows >= num_rows:
            raise ConfigError(
                f"data.holdout_rows: leaves none of the {num_rows} training rows of dataset "
                f"{task.name} (got {holdout_rows}); set it to less than {num_rows}"
            )
        self.holdout_rows = draw_holdout(num_rows, holdout_rows)
        self.train_rows = sorted(set(range(num_rows)) - set(self.holdout_rows))

    @property
    def eval_splits(self) -> tuple[str, ...]:
        """Every split that is evaluated, the main one first; ``holdout`` whenever there is one."""
        held_out = (HOLDOUT,) if self.holdout_rows else ()
        return tuple(dict.fromkeys((*self.task.eval_splits, *held_out)))

    def evaluated(self, split: str, eval_rows: int | None) -> EvaluatedSplit:
        """One evaluation split.

        Args:
            split: One of `eval_splits`.
            eval_rows: At most so many of its first rows; None: all.

        Returns:
            Its tokens and rows.

        Raises:
            ConfigError: When it is ``holdout``, and there is none.
            DataError: When it cannot be read or does not hold what the task needs.
        """
        if split != HOLDOUT:
            tokens = self._read(split, with_spans=True)
            rows = np.arange(tokens.num_rows)[:eval_rows]
            return EvaluatedSplit(self.task, split, tokens, rows)
        if not self.holdout_rows:
            raise ConfigError(
                f"data.holdout_rows: {field(self.task)} is evaluated on the split "
                f'"{HOLDOUT}", but no rows are held out (got 0); set it above 0'
            )
        rows = np.array(self.holdout_rows)[:eval_rows]
        return EvaluatedSplit(self.task, self.task.train_split, self.train, rows)

    def _read(self, split: str, *, with_spans: bool) -> TokenizedSplit:
        settings = replace(self._settings, with_spans=with_spans)
        tokens = load_tokenized(self.task, split, self._tokenizer, settings, self._cache_dir)
        if self._vocab_size is not None:
            check_ids(tokens, pad_id(self._tokenizer), self._vocab_size)
        return tokens

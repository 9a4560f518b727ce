"""Section `data`: which dataset, and how much of it is read."""

from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from apt_core.config.base import Count, PositiveCount, Section, Text, expand_path
from apt_core.config.builtin_datasets import BUILTIN_DATASETS
from apt_core.config.dataset import DatasetSpec
from apt_core.config.problems import Problem
from apt_core.data.tasks import HOLDOUT
from apt_core.errors import ConfigError

DEFAULT_HOLDOUT_ROWS = 1000
"""Rows held out for a dataset that is evaluated on them, where `holdout_rows` is 0."""


class DataConfig(Section):
    """The dataset and how much of it to read."""

    dataset: Text = "sst2"
    """Which entry of `datasets` to train on."""
    datasets: dict[str, DatasetSpec] = Field(default_factory=dict, validate_default=True)
    """Name -> where the dataset is and what its columns mean. Adds to the built-in ones, key by
    key."""
    max_length: PositiveCount = 128
    """Tokens of a text, a pair, a window or a prompt; longer ones are cut. GLUE: 128. A LLaMA-like
    model reads up to `max_length` + `max_target_length`."""
    max_target_length: PositiveCount = 128
    """Tokens of a text that is learned and generated: summary, answer, output."""
    doc_stride: Count = 128
    """Tokens that two neighbouring windows of a long context share, in question answering with an
    encoder; at most half of the room that the question leaves."""
    train_rows: PositiveCount | None = None
    """Use only so many training rows, drawn once for all seeds; null: all."""
    eval_rows: PositiveCount | None = None
    """Use only the first so many rows of every evaluation split; null: all."""
    holdout_rows: Count = 0
    """So many training rows, drawn once for all seeds, are never trained on: they are evaluation
    split `holdout`. 0: none, or 1000 where the dataset is evaluated on `holdout`."""
    bucket_batches: PositiveCount = 50
    """Rows of so many batches are sorted by length before they are cut into batches, whose order is
    shuffled: less padding is computed. 1: no sorting."""
    pad_to_multiple_of: PositiveCount | None = None
    """Batches are as wide as their longest row, rounded up to a multiple of this. null: 8 in bf16
    and fp16, whose kernels are made anew for every width (on a CPU) or want it even (on a GPU);
    else 1. What is learned does not depend on it, but for `distillation.mask_padding: false`."""
    cache_dir: Text = "~/.cache/aptune"
    """Folder for tokenised datasets; may contain ${ENV}."""

    @field_validator("datasets", mode="before")
    @classmethod
    def _add_builtin(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        merged: dict[str, Any] = {**BUILTIN_DATASETS, **value}
        for name, entry in value.items():
            if name in BUILTIN_DATASETS and isinstance(entry, dict):
                merged[name] = {**BUILTIN_DATASETS[name], **entry}
        return merged

    @property
    def spec(self) -> DatasetSpec:
        """The chosen dataset's entry."""
        return self.datasets[self.dataset]

    @property
    def num_holdout_rows(self) -> int:
        """Training rows that are held out: `holdout_rows`, or the default where they are needed."""
        needed = HOLDOUT in self.spec.eval_splits
        return self.holdout_rows or (DEFAULT_HOLDOUT_ROWS if needed else 0)

    def num_trained_rows(self, num_split_rows: int) -> int:
        """Rows of the training split that are trained on.

        Args:
            num_split_rows: Rows of the whole split.

        Returns:
            What is left after `holdout_rows`, at most `train_rows`.

        Raises:
            ConfigError: When nothing is left.
        """
        left = num_split_rows - self.num_holdout_rows
        if left <= 0:
            wrong = f"leaves none of the {num_split_rows} training rows of dataset {self.dataset}"
            todo = f"set it to less than {num_split_rows}"
            raise ConfigError(str(Problem("data.holdout_rows", wrong, todo, self.num_holdout_rows)))
        return min(left, self.train_rows or left)

    @property
    def cache_path(self) -> Path:
        """`cache_dir` with ${ENV} and ~ replaced."""
        return expand_path(self.cache_dir, "data.cache_dir")

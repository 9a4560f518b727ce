"""Section `data`: which dataset, and how it is read."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from apt_core.config.base import Listed, PositiveCount, Section, Text, expand_env, expand_path

TaskKind = Literal["classification"]
ClassificationMetric = Literal["accuracy"]


def _glue(subset: str, columns: list[str], labels: list[str]) -> dict[str, Any]:
    return {"path": "nyu-mll/glue", "subset": subset, "text_columns": columns, "labels": labels}


_ENTAILMENT = ["entailment", "not_entailment"]
BUILTIN_DATASETS: dict[str, dict[str, Any]] = {
    "toy_sentiment": {
        "path": "embedded:sentiment",
        "text_columns": ["sentence"],
        "labels": ["negative", "positive"],
    },
    "sst2": _glue("sst2", ["sentence"], ["negative", "positive"]),
    "cola": _glue("cola", ["sentence"], ["unacceptable", "acceptable"]),
    "mnli": {
        **_glue("mnli", ["premise", "hypothesis"], ["entailment", "neutral", "contradiction"]),
        "eval_split": "validation_matched",
    },
    "qnli": _glue("qnli", ["question", "sentence"], _ENTAILMENT),
    "qqp": _glue("qqp", ["question1", "question2"], ["not_duplicate", "duplicate"]),
    "mrpc": _glue("mrpc", ["sentence1", "sentence2"], ["not_equivalent", "equivalent"]),
    "rte": _glue("rte", ["sentence1", "sentence2"], _ENTAILMENT),
}
"""Datasets that need no declaration. Entries of the user merge over these, key by key."""


class DatasetSpec(Section):
    """Where a dataset is and what its columns mean."""

    path: Text
    """Hub id (`nyu-mll/glue` with `subset`, or `glue/sst2`), folder of Parquet files (may contain
    ${ENV}), or `embedded:NAME`."""
    subset: str | None = None
    """Configuration of a hub dataset, such as `sst2` of `nyu-mll/glue`."""
    revision: str | None = None
    """Branch, tag or commit on the hub; null: the newest."""
    task: TaskKind = "classification"
    """What is to be learned."""
    text_columns: Annotated[tuple[Text, ...], Listed, Field(min_length=1, max_length=2)]
    """The column with the text, or the two columns of a sentence pair, in the order the model reads
    them."""
    label_column: Text = "label"
    """Column with the class as a number: an index into `labels`."""
    labels: Annotated[tuple[Text, ...], Listed, Field(min_length=2)]
    """Names of the classes, in the order of their numbers."""
    metric: ClassificationMetric | None = None
    """Main metric; null: what `evaluation.metrics` says for the task."""
    train_split: Text = "train"
    """Split to train on."""
    eval_split: Text = "validation"
    """Split to evaluate on."""

    @property
    def expanded_path(self) -> str:
        """`path` with ${ENV} replaced."""
        return expand_env(self.path, "data.datasets")

    @property
    def num_labels(self) -> int:
        """Number of classes."""
        return len(self.labels)


class DataConfig(Section):
    """The dataset and how much of it to read."""

    dataset: Text = "sst2"
    """Which entry of `datasets` to train on."""
    datasets: dict[str, DatasetSpec] = Field(default_factory=dict, validate_default=True)
    """Name -> where the dataset is and what its columns mean. Adds to the built-in ones, key by
    key."""
    max_length: PositiveCount = 128
    """Tokens per example; longer texts are cut. GLUE: 128."""
    train_rows: PositiveCount | None = None
    """Use only the first so many training rows; null: all."""
    eval_rows: PositiveCount | None = None
    """Use only the first so many evaluation rows; null: all."""
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
    def cache_path(self) -> Path:
        """`cache_dir` with ${ENV} and ~ replaced."""
        return expand_path(self.cache_dir, "data.cache_dir")

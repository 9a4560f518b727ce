"""What a dataset is to the rest of apt_core: plain values, no config objects and no libraries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

EMBEDDED_PREFIX = "embedded:"
HOLDOUT = "holdout"
"""Name of the evaluation split that is carved out of the training split."""
LABEL_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "classification": "label",
        "regression": "label",
        "qa": "answers",
        "summarization": "summary",
        "instruction": "output",
    }
)
"""Kind of task -> the column that it predicts where none is named."""
GLUE_HUB_ID = "nyu-mll/glue"


class DatasetFields(Protocol):
    """What `TaskSpec.of` reads: the dataset section of the config has these attributes."""

    @property
    def expanded_path(self) -> str:
        """Hub id, folder or ``embedded:NAME``."""

    @property
    def subset(self) -> str | None:
        """Configuration of a hub dataset."""

    @property
    def revision(self) -> str | None:
        """Revision of a hub dataset."""

    @property
    def task(self) -> str:
        """What is learned."""

    @property
    def text_columns(self) -> Sequence[str]:
        """One or two columns."""

    @property
    def target_column(self) -> str:
        """Column to predict."""

    @property
    def labels(self) -> Sequence[str]:
        """Class names."""

    @property
    def label_words(self) -> Sequence[str]:
        """Texts that stand for the classes."""

    @property
    def prompt(self) -> str | None:
        """Template for generative models."""

    @property
    def metric(self) -> str | None:
        """Main metric."""

    @property
    def train_split(self) -> str:
        """Split to train on."""

    @property
    def eval_split(self) -> str:
        """Split to evaluate on."""

    @property
    def more_eval_splits(self) -> Sequence[str]:
        """Splits that are scored once, at the end."""


@dataclass(frozen=True)
class TaskSpec:
    """One dataset and what is learned from it."""

    name: str
    path: str
    """Hub id, folder of files, or ``embedded:NAME``; variables are already replaced."""
    text_columns: tuple[str, ...]
    """One column, or the two of a pair; for qa (question, context), for instruction (instruction,)
    or (instruction, input)."""
    labels: tuple[str, ...] = ()
    """Class names in the order of their numbers; empty for other kinds."""
    kind: str = "classification"
    label_column: str = ""
    """The column to predict; empty: the default of the kind."""
    metric: str | None = None
    """Main metric; None: the default of the kind."""
    subset: str | None = None
    revision: str | None = None
    train_split: str = "train"
    eval_split: str = "validation"
    more_eval_splits: tuple[str, ...] = ()
    """Splits that are scored once, at the end."""
    prompt: str | None = None
    """Template for generative models, with ``{column}`` placeholders; None: that of the kind."""
    label_words: tuple[str, ...] = ()
    """What generative models write for the classes; empty: the labels."""

    def __post_init__(self) -> None:
        """Put the defaults that depend on other fields in their places."""
        object.__setattr__(self, "label_column", self.label_column or LABEL_COLUMNS[self.kind])
        object.__setattr__(self, "label_words", self.label_words or self.labels)

    @classmethod
    def of(cls, name: str, fields: DatasetFields) -> "TaskSpec":
        """Copy the values out of a config's dataset section: nothing below holds config objects."""
        return cls(
            name=name,
            path=fields.expanded_path,
            text_columns=tuple(fields.text_columns),
            labels=tuple(fields.labels),
            kind=fields.task,
            label_column=fields.target_column,
            metric=fields.metric,
            subset=fields.subset,
            revision=fields.revision,
            train_split=fields.train_split,
            eval_split=fields.eval_split,
            more_eval_splits=tuple(fields.more_eval_splits),
            prompt=fields.prompt,
            label_words=tuple(fields.label_words),
        )

    @property
    def num_labels(self) -> int:
        """Number of classes; 1 for regression, 0 where there are none."""
        return 1 if self.kind == "regression" else len(self.labels)

    @property
    def eval_splits(self) -> tuple[str, ...]:
        """Every split that is evaluated, the main one first."""
        return (self.eval_split, *self.more_eval_splits)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        return (*self.text_columns, self.label_column)

    @property
    def embedded_name(self) -> str | None:
        """NAME of ``embedded:NAME``, otherwise None."""
        if not self.path.startswith(EMBEDDED_PREFIX):
            return None
        return self.path.removeprefix(EMBEDDED_PREFIX)

    @property
    def folder(self) -> Path | None:
        """The local folder, or None for embedded and hub datasets.

        What looks like a hub id ("owner/name") is a folder only when there is one by that name.
        """
        if self.embedded_name is not None:
            return None
        folder = Path(self.path).expanduser()
        looks_like_hub_id = self.path.count("/") <= 1 and not self.path.startswith((".", "/", "~"))
        return None if looks_like_hub_id and not folder.is_dir() else folder

    @property
    def hub_source(self) -> tuple[str, str | None]:
        """Hub id and subset; ``glue/sst2`` is short for subset sst2 of nyu-mll/glue."""
        owner, _, rest = self.path.partition("/")
        if owner == "glue" and rest and self.subset is None:
            return GLUE_HUB_ID, rest
        return self.path, self.subset

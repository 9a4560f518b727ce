"""What a dataset is to the rest of apt_core: plain values, no config objects and no libraries."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

EMBEDDED_PREFIX = "embedded:"
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
    def label_column(self) -> str:
        """Column of class numbers."""

    @property
    def labels(self) -> Sequence[str]:
        """Class names."""

    @property
    def metric(self) -> str | None:
        """Main metric."""

    @property
    def train_split(self) -> str:
        """Split to train on."""

    @property
    def eval_split(self) -> str:
        """Split to evaluate on."""


@dataclass(frozen=True)
class TaskSpec:
    """One dataset and what is learned from it."""

    name: str
    path: str
    """Hub id, folder of Parquet files, or ``embedded:NAME``; variables are already replaced."""
    text_columns: tuple[str, ...]
    """One column, or the two of a sentence pair."""
    labels: tuple[str, ...]
    """Class names in the order of their numbers."""
    kind: str = "classification"
    label_column: str = "label"
    metric: str | None = None
    """Main metric; None: the default of the kind."""
    subset: str | None = None
    revision: str | None = None
    train_split: str = "train"
    eval_split: str = "validation"

    @classmethod
    def of(cls, name: str, fields: DatasetFields) -> "TaskSpec":
        """Copy the values out of a config's dataset section: nothing below holds config objects."""
        return cls(
            name=name,
            path=fields.expanded_path,
            text_columns=tuple(fields.text_columns),
            labels=tuple(fields.labels),
            kind=fields.task,
            label_column=fields.label_column,
            metric=fields.metric,
            subset=fields.subset,
            revision=fields.revision,
            train_split=fields.train_split,
            eval_split=fields.eval_split,
        )

    @property
    def num_labels(self) -> int:
        """Number of classes."""
        return len(self.labels)

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

"""`DatasetSpec`: an entry of `data.datasets`, checked against its kind of task."""

import re
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from apt_core.config.base import Listed, Section, Text, expand_env
from apt_core.config.task_kinds import METRICS_OF_KIND, TaskKind
from apt_core.data.tasks import HOLDOUT, LABEL_COLUMNS

MIN_CLASSES = 2
_PAIR = 2
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_Names = Annotated[tuple[Text, ...], Listed]


def _refuse(wrong: str, todo: str) -> PydanticCustomError:
    """An error whose text may hold braces: pydantic fills in templates."""
    return PydanticCustomError("dataset", "{text}", {"text": f"{wrong}; {todo}"})


class DatasetSpec(Section):
    """Where a dataset is and what its columns mean."""

    path: Text
    """Hub id (`nyu-mll/glue` with `subset`, or `glue/sst2`), folder of Parquet, CSV or JSON lines
    files (may contain ${ENV}), or `embedded:NAME`."""
    subset: str | None = None
    """Configuration of a hub dataset, such as `sst2` of `nyu-mll/glue`."""
    revision: str | None = None
    """Branch, tag or commit on the hub; null: the newest."""
    task: TaskKind = "classification"
    """What is to be learned."""
    text_columns: Annotated[tuple[Text, ...], Listed, Field(min_length=1, max_length=2)]
    """The column or the two columns that are read, in the order the model reads them: a text, a
    pair, question and context (`qa`), instruction and its input."""
    label_column: Text | None = Field(default=None, validate_default=True)
    """Column to predict; null: `label`, for `qa` `answers`, for `summarization` `summary`, for
    `instruction` `output`."""
    labels: _Names = Field(default=(), validate_default=True)
    """Classification only: names of the classes, in the order of their numbers. The column holds
    numbers or these names."""
    label_words: _Names = Field(default=(), validate_default=True)
    """Classification only: what T5 and LLaMA-like models write for each class; empty: `labels`."""
    prompt: Text | None = Field(default=None, validate_default=True)
    """What T5 and LLaMA-like models read, with `{column}` for each text column; null: the default
    of the task."""
    metric: Text | None = Field(default=None, validate_default=True)
    """Main metric, one of the task's; null: what `evaluation.metrics` says for the task."""
    train_split: Text = "train"
    """Split to train on."""
    eval_split: Text = "validation"
    """Split to evaluate on; `holdout`: rows kept out of training, see `data.holdout_rows`."""
    more_eval_splits: _Names = ()
    """Further splits, scored once when training is over."""

    @field_validator("text_columns")
    @classmethod
    def _columns_suit_the_task(cls, value: tuple[str, ...], info: ValidationInfo) -> Any:
        if info.data.get("task") == "qa" and len(value) != _PAIR:
            raise _refuse("qa reads two columns", "list question and context, in this order")
        if len(set(value)) < len(value):
            raise _refuse("names a column twice", "list different columns")
        return value

    @field_validator("label_column")
    @classmethod
    def _target_is_not_read(cls, value: str | None, info: ValidationInfo) -> Any:
        target = value or LABEL_COLUMNS.get(info.data.get("task", ""))
        if target in info.data.get("text_columns", ()):
            wrong = f"column {target} would be read and predicted at once"
            raise _refuse(wrong, "take it out of text_columns, or set another label_column")
        return value

    @field_validator("labels")
    @classmethod
    def _labels_suit_the_task(cls, value: tuple[str, ...], info: ValidationInfo) -> Any:
        task = info.data.get("task")
        if task == "classification":
            if not value:
                raise _refuse(
                    "is required for classification",
                    "name the classes in the order of their numbers",
                )
            if len(value) < MIN_CLASSES or len(set(value)) < len(value):
                raise _refuse("must name two different classes or more", "name every class once")
        elif task is not None and value:
            raise _refuse(f"are for classification, and task is {task}", "remove them")
        return value

    @field_validator("label_words")
    @classmethod
    def _words_suit_the_labels(cls, value: tuple[str, ...], info: ValidationInfo) -> Any:
        task, labels = info.data.get("task"), info.data.get("labels")
        if not value or task is None:
            return value
        if task != "classification":
            raise _refuse(f"are for classification, and task is {task}", "remove them")
        if labels is not None and len(value) != len(labels):
            wrong = f"there are {len(value)} words for {len(labels)} labels"
            raise _refuse(wrong, "write one word for each label, in the same order")
        if len(set(value)) < len(value):
            raise _refuse("two classes have the same word", "write different words")
        return value

    @field_validator("prompt")
    @classmethod
    def _placeholders_are_columns(cls, value: str | None, info: ValidationInfo) -> Any:
        columns = info.data.get("text_columns")
        if value is None or columns is None:
            return value
        named = _PLACEHOLDER.findall(value)
        listed = ", ".join(f"{{{column}}}" for column in columns)
        unknown = [name for name in named if name not in columns]
        if unknown:
            wrong = f"placeholder {{{unknown[0]}}} is none of text_columns"
            raise _refuse(wrong, f"use {listed}, or add the column to text_columns")
        missing = [column for column in columns if column not in named]
        if missing:
            wrong = f"column {missing[0]} does not occur in it"
            raise _refuse(wrong, f"write {{{missing[0]}}}, or remove it from text_columns")
        return value

    @field_validator("metric")
    @classmethod
    def _metric_suits_the_task(cls, value: str | None, info: ValidationInfo) -> Any:
        task = info.data.get("task")
        if value is None or task is None or value in METRICS_OF_KIND[task]:
            return value
        known = ", ".join(METRICS_OF_KIND[task])
        raise _refuse(f"is no metric of {task}", f"choose one of {known}")

    @field_validator("train_split")
    @classmethod
    def _train_split_is_read(cls, value: str) -> str:
        if value == HOLDOUT:
            raise _refuse(
                f"{HOLDOUT} names the rows kept out of training",
                "name the split they are taken from",
            )
        return value

    @field_validator("more_eval_splits")
    @classmethod
    def _splits_differ(cls, value: tuple[str, ...], info: ValidationInfo) -> Any:
        splits = [info.data.get("eval_split"), *value]
        if len(set(splits)) < len(splits):
            raise _refuse("names a split twice, or eval_split again", "name every split once")
        return value

    @property
    def expanded_path(self) -> str:
        """`path` with ${ENV} replaced."""
        return expand_env(self.path, "data.datasets")

    @property
    def target_column(self) -> str:
        """The column to predict: `label_column`, or the default of the task."""
        return self.label_column or LABEL_COLUMNS[self.task]

    @property
    def num_labels(self) -> int:
        """Number of classes; 1 for regression, 0 where there are none."""
        return 1 if self.task == "regression" else len(self.labels)

    @property
    def eval_splits(self) -> tuple[str, ...]:
        """Every split that is evaluated, the main one first."""
        return (self.eval_split, *self.more_eval_splits)

"""What predictions are compared with: the targets of a split as the dataset has them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from apt_core.data.checks import class_numbers
from apt_core.data.prompts import UNANSWERABLE
from apt_core.data.tasks import TaskSpec
from apt_core.data.tokenized import IntArray

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Windows:
    """The windows of a question_answering split."""

    rows: tuple[int, ...]
    """Window i belongs to row ``rows[i]`` of the references."""
    spans: tuple[IntArray, ...]
    """Per window (tokens, 2): character span of every token in the row's context, (-1, -1) for
    tokens outside the context."""


@dataclass(frozen=True)
class References:
    """The rows of an evaluation split."""

    targets: tuple[Any, ...]
    """By row: class, score, accepted answers (none: unanswerable), summary or output."""
    contexts: tuple[str, ...] = ()
    """By row; qa only."""
    windows: Windows | None = None
    """For the question_answering head only."""


def targets_of(table: "pa.Table", task: TaskSpec) -> tuple[Any, ...]:
    """The target of every row of a split that `check_split` let pass.

    Args:
        table: The rows.
        task: The dataset.

    Returns:
        int (classification), float (regression), tuple of different answers (qa), else text.
    """
    column = table[task.label_column]
    if task.kind == "classification":
        column = class_numbers(column, task)
    values = column.to_pylist()
    if task.kind == "qa":
        return tuple(tuple(dict.fromkeys(answers["text"])) for answers in values)
    if task.kind == "regression":
        return tuple(map(float, values))
    return tuple(values)


def target_text(target: Any, task: TaskSpec) -> str:
    """What a generative model is to write for a target.

    Args:
        target: One of `targets_of`.
        task: The dataset.

    Returns:
        The word of the class, the score with one decimal, the first answer or ``unanswerable``, or
        the text itself.
    """
    if task.kind == "classification":
        return str(task.label_words[target])
    if task.kind == "regression":
        return f"{target:.1f}"
    if task.kind == "qa":
        return str(target[0]) if target else UNANSWERABLE
    return str(target)

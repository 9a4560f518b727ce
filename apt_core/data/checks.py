"""Whether the rows of a split hold what their task needs. No torch."""

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from apt_core.data.tasks import TaskSpec
from apt_core.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger(__name__)

ANSWERS_SHAPE = "{text: [...], answer_start: [...]}"


def field(task: TaskSpec) -> str:
    """Path of the dataset's config section, for messages."""
    return f"data.datasets.{task.name}" if task.name else "data.datasets"


def check_split(table: "pa.Table", task: TaskSpec, split: str) -> int:
    """Check one split against its task.

    Args:
        table: What `read_split` gave.
        task: The dataset.
        split: Name of the split, for messages.

    Returns:
        Rows with an answer that does not stand at its place in the context; they are warned of. 0
        for other tasks than qa.

    Raises:
        DataError: When a column is missing or of the wrong type, a text or target is null, or a
            target is not what the task predicts.
    """
    where = f'{field(task)}: split "{split}"'
    if table.num_rows == 0:
        raise DataError(f"{where} is empty; add rows or choose another split")
    missing = [name for name in task.columns if name not in table.column_names]
    if missing:
        raise DataError(
            f"{where} has no column {', '.join(missing)} (columns: "
            f"{', '.join(table.column_names)}); set text_columns and label_column"
        )
    for name in task.text_columns:
        _check_text(table[name], f'{where}: column "{name}"', "text_columns")
    target = f'{where}: column "{task.label_column}"'
    TARGET_CHECKS[task.kind](table[task.label_column], task, target)
    num_misplaced = int(misplaced_rows(table, task).sum()) if task.kind == "qa" else 0
    if num_misplaced:
        logger.warning(
            '%s: in %d of %d rows an answer is not in column "%s" at its answer_start; a model '
            "that points at answers is not trained on these rows, but they are scored",
            where,
            num_misplaced,
            table.num_rows,
            task.text_columns[-1],
        )
    return num_misplaced


def class_numbers(column: "pa.ChunkedArray", task: TaskSpec, where: str = "") -> "pa.Array":
    """Labels as class numbers; names of classes are looked up.

    Args:
        column: Integers, or text: entries of the task's labels, else digits.
        task: The dataset.
        where: Place of the column, for messages.

    Returns:
        Integers, not checked for their range.

    Raises:
        DataError: When a text is neither a label nor a whole number.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not _is_text(column.type):
        return column
    column = column.cast(pa.large_string())
    numbers = pc.index_in(column, value_set=pa.array(task.labels, pa.large_string()))
    if not numbers.null_count:
        return numbers
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid as error:
        row = numbers.is_null().to_pylist().index(True)
        raise DataError(
            f'{where} holds "{column[row].as_py()}" in row {row}, which is none of labels: '
            f"{', '.join(task.labels)}; name it in labels or correct the row"
        ) from error


def misplaced_rows(table: "pa.Table", task: TaskSpec) -> npt.NDArray[np.bool_]:
    """For every row of a qa split: whether an answer is not in its context at its place."""
    contexts = table[task.text_columns[-1]].to_pylist()
    answers = table[task.label_column].to_pylist()
    return np.array(
        [_is_misplaced(*row) for row in zip(contexts, answers, strict=True)], dtype=np.bool_
    )


def _is_misplaced(context: str, answers: Mapping[str, Any]) -> bool:
    return any(
        not text or start < 0 or not context.startswith(text, start)
        for text, start in zip(answers["text"], answers["answer_start"], strict=True)
    )


def _is_text(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _check_text(column: "pa.ChunkedArray", where: str, key: str) -> None:
    if not _is_text(column.type):
        raise DataError(f"{where} holds {column.type}, not text; set {key}")
    _check_null(column, where, "remove them, or write empty text")


def _check_null(column: "pa.ChunkedArray", where: str, todo: str) -> None:
    if column.null_count:
        row = column.is_null().to_pylist().index(True)
        raise DataError(
            f"{where} holds null in {column.null_count} rows, first in row {row}; {todo}"
        )


def _check_classes(column: "pa.ChunkedArray", task: TaskSpec, where: str) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not column.null_count:
        column = class_numbers(column, task, where)
    elif _is_text(column.type) or pa.types.is_integer(column.type):
        _check_null(column, where, "remove the unlabelled rows")
    if not pa.types.is_integer(column.type):
        raise DataError(f"{where} holds {column.type}, not class numbers; set label_column")
    lowest, highest = pc.min_max(column).as_py().values()
    if lowest < 0 or highest >= task.num_labels:
        found = lowest if lowest < 0 else highest
        row = column.to_pylist().index(found)
        raise DataError(
            f"{where} holds class {found} in row {row}, but labels has {task.num_labels} classes "
            f"(0 to {task.num_labels - 1}): {', '.join(task.labels)}; name the missing class in "
            "labels or correct the row"
        )


def _check_scores(column: "pa.ChunkedArray", task: TaskSpec, where: str) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise DataError(f"{where} holds {column.type}, not numbers; set label_column")
    _check_null(column, where, "remove the rows without a score")
    finite = pc.is_finite(column).to_pylist()
    if not all(finite):
        row = finite.index(False)
        raise DataError(f"{where} holds {column[row]} in row {row}; remove or correct the row")


def _check_answers(column: "pa.ChunkedArray", task: TaskSpec, where: str) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    names = {kind.field(i).name for i in range(kind.num_fields)} if pa.types.is_struct(kind) else ()
    if not {"text", "answer_start"} <= set(names):
        raise DataError(
            f"{where} holds {kind}, not answers of the form {ANSWERS_SHAPE}; write the two lists "
            "into it (Parquet or JSON lines: CSV cannot hold them), or set label_column"
        )
    _check_list(kind.field("text").type, _is_text, f"{where}: text", "a list of texts")
    starts_where = f"{where}: answer_start"
    starts_type = kind.field("answer_start").type
    _check_list(starts_type, pa.types.is_integer, starts_where, "a list of character positions")
    texts, starts = (pc.struct_field(column, name) for name in ("text", "answer_start"))
    parts = (column, texts, starts, pc.list_flatten(texts), pc.list_flatten(starts))
    if any(part.null_count for part in parts):
        row, answers = next(found for found in enumerate(column.to_pylist()) if _has_null(found[1]))
        todo = "write two empty lists for a question without an answer"
        raise DataError(f"{where} holds null in row {row} (got {answers}); {todo}")
    differ = pc.not_equal(pc.list_value_length(texts), pc.list_value_length(starts)).to_pylist()
    if any(differ):
        row = differ.index(True)
        raise DataError(
            f"{where} has not as many places as texts in row {row} (got {column[row].as_py()}); "
            "write one answer_start for each text"
        )


def _has_null(answers: Mapping[str, Any] | None) -> bool:
    return answers is None or any(values is None or None in values for values in answers.values())


def _check_list(kind: Any, holds: Callable[[Any], Any], where: str, wanted: str) -> None:
    import pyarrow as pa

    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    # Lists that are all empty, as where no question has an answer, have no type of their own.
    if not is_list or not (holds(kind.value_type) or pa.types.is_null(kind.value_type)):
        raise DataError(f"{where} holds {kind}, not {wanted}; write {ANSWERS_SHAPE}")


def _check_target_text(column: "pa.ChunkedArray", task: TaskSpec, where: str) -> None:
    _check_text(column, where, "label_column")


TARGET_CHECKS: Mapping[str, Callable[["pa.ChunkedArray", TaskSpec, str], None]] = MappingProxyType(
    {
        "classification": _check_classes,
        "regression": _check_scores,
        "qa": _check_answers,
        "summarization": _check_target_text,
        "instruction": _check_target_text,
    }
)
"""Kind of task -> check of the column that it predicts."""

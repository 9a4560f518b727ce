"""Where rows come from: the embedded language, a folder of Parquet files, or the hub. No torch."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apt_core.data.embedded import check_embedded_dataset
from apt_core.data.tasks import TaskSpec
from apt_core.data.toy import toy_rows
from apt_core.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

PATTERNS = (
    "{split}.parquet",
    "{split}-*.parquet",
    "{split}/*.parquet",
)
"""How the files of a split may be named, the hub's ways included."""


def field(task: TaskSpec) -> str:
    """Path of the dataset's config section, for messages."""
    return f"data.datasets.{task.name}" if task.name else "data.datasets"


def split_files(task: TaskSpec, split: str) -> list[Path]:
    """The Parquet files of one split of a local dataset, sorted.

    Args:
        task: A task whose `folder` is not None.
        split: Name of the split.

    Returns:
        At least one file.

    Raises:
        DataError: When the folder or the split's files are missing.
    """
    folder = task.folder
    assert folder is not None
    if not folder.is_dir():
        raise DataError(
            f'{field(task)}.path: there is no such folder (got "{folder}"); correct the path, or '
            "put the dataset's Parquet files there"
        )
    roots = [folder / "data", folder]
    if task.subset:
        roots = [folder / task.subset, *roots]
    for root in roots:
        for pattern in PATTERNS:
            found = sorted(root.glob(pattern.format(split=split)))
            if found:
                return found
    present = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.parquet"))
    raise DataError(
        f'{field(task)}: split "{split}" has no file {split}.parquet or {split}-*.parquet in '
        f"{folder} (there: {', '.join(present[:10]) or 'no Parquet file'}); add it, or set "
        "train_split and eval_split"
    )


@cache
def _embedded_rows(name: str) -> dict[str, list[dict[str, Any]]]:
    return toy_rows(name)


def embedded_split(task: TaskSpec, split: str) -> list[dict[str, Any]]:
    """The rows of one split of an embedded dataset.

    Args:
        task: A task whose `embedded_name` is not None.
        split: Name of the split.

    Returns:
        Its rows.

    Raises:
        DataError: When the dataset or the split does not exist.
    """
    name = task.embedded_name
    assert name is not None
    check_embedded_dataset(name, field(task))
    splits = _embedded_rows(name)
    if split not in splits:
        raise DataError(
            f'{field(task)}: embedded dataset "{name}" has no split "{split}"; its splits: '
            f"{', '.join(sorted(splits))}"
        )
    return splits[split]


def split_fingerprint(task: TaskSpec, split: str) -> str:
    """SHA-256 of embedded rows, of the names, sizes and bytes of files, or of a hub address."""
    digest = hashlib.sha256()
    if task.embedded_name is not None:
        digest.update(json.dumps(embedded_split(task, split), sort_keys=True).encode())
    elif task.folder is not None:
        for path in split_files(task, split):
            digest.update(f"{path.name} {path.stat().st_size}\n".encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    else:
        digest.update(json.dumps([*task.hub_source, task.revision, split]).encode())
    return digest.hexdigest()


def read_split(task: TaskSpec, split: str) -> "pa.Table":
    """Read the columns of a task.

    Args:
        task: The dataset.
        split: Name of the split.

    Returns:
        A table; `check_split` says whether it holds what the task needs.

    Raises:
        DataError: When the split cannot be read.
    """
    # Slow to import, and not needed when the tokenised dataset is cached.
    import pyarrow as pa

    if task.embedded_name is not None:
        return pa.Table.from_pylist(embedded_split(task, split))
    if task.folder is None:
        return _read_hub(task, split)
    try:
        return pa.concat_tables([_read_file(task, path) for path in split_files(task, split)])
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f'{field(task)}: the files of split "{split}" in {task.folder} cannot be read '
            f"({error}); replace them"
        ) from error


def _read_file(task: TaskSpec, path: Path) -> "pa.Table":
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        # All columns when one is missing, so that the message can name what is there.
        wanted = list(task.columns) if set(task.columns) <= set(names) else names
        return file.read(columns=wanted)


def _read_hub(task: TaskSpec, split: str) -> "pa.Table":
    import datasets

    hub_id, subset = task.hub_source
    try:
        loaded = datasets.load_dataset(hub_id, subset, split=split, revision=task.revision)
    except Exception as error:
        # The library lets errors of a dozen other libraries through.
        where = f"{hub_id}/{subset}" if subset else hub_id
        raise DataError(
            f'{field(task)}: split "{split}" of hub dataset "{where}" cannot be loaded '
            f"({type(error).__name__}: {error}); check path, subset and revision and the way to "
            "the hub, or set path to a folder of Parquet files"
        ) from error
    return loaded.with_format("arrow")[:]


def check_split(table: "pa.Table", task: TaskSpec, split: str) -> None:
    """Check one split against its task.

    Args:
        table: What `read_split` gave.
        task: The dataset.
        split: Name of the split, for messages.

    Raises:
        DataError: When a column is missing or of the wrong type, a text or label is null, or a
            label is none of the task's classes.
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
        _check_text(table[name], f'{where}: column "{name}"')
    _check_labels(table[task.label_column], task, f'{where}: column "{task.label_column}"')


def _check_text(column: "pa.ChunkedArray", where: str) -> None:
    import pyarrow as pa

    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise DataError(f"{where} holds {column.type}, not text; set text_columns")
    if column.null_count:
        row = column.is_null().to_pylist().index(True)
        raise DataError(
            f"{where} holds null in {column.null_count} rows, first in row {row}; remove them"
        )


def _check_labels(column: "pa.ChunkedArray", task: TaskSpec, where: str) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_integer(column.type):
        raise DataError(f"{where} holds {column.type}, not class numbers; set label_column")
    if column.null_count:
        row = column.is_null().to_pylist().index(True)
        raise DataError(f"{where} holds null, first in row {row}; remove the unlabelled rows")
    lowest, highest = pc.min_max(column).as_py().values()
    if lowest < 0 or highest >= task.num_labels:
        found = lowest if lowest < 0 else highest
        row = column.to_pylist().index(found)
        raise DataError(
            f"{where} holds class {found} in row {row}, but labels has {task.num_labels} classes "
            f"(0 to {task.num_labels - 1}): {', '.join(task.labels)}; name the missing class in "
            "labels or correct the row"
        )

"""Where rows come from: the embedded language, a folder of files, or the hub. No torch."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apt_core.data.checks import field
from apt_core.data.embedded import check_embedded_dataset
from apt_core.data.files import files_there, find_files, read_file
from apt_core.data.tasks import TaskSpec
from apt_core.data.toy import toy_rows
from apt_core.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa


def split_files(task: TaskSpec, split: str) -> list[Path]:
    """The files of one split of a local dataset, sorted.

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
            "put the dataset's files there"
        )
    found = find_files(folder, task.subset, split)
    if found:
        return found
    present = ", ".join(files_there(folder)[:10]) or "no Parquet, CSV or JSON lines file"
    raise DataError(
        f'{field(task)}: split "{split}" has no file {split}.parquet or {split}-*.parquet in '
        f"{folder}, nor .csv or .jsonl (there: {present}); add it, or set train_split and "
        "eval_split"
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
        A table; `apt_core.data.checks.check_split` says whether it holds what the task needs.

    Raises:
        DataError: When the split cannot be read.
    """
    # Slow to import, and not needed when the tokenised dataset is cached.
    import pyarrow as pa

    if task.embedded_name is not None:
        return pa.Table.from_pylist(embedded_split(task, split))
    if task.folder is None:
        return _read_hub(task, split)
    tables = [read_file(path, task) for path in split_files(task, split)]
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise DataError(
            f'{field(task)}: the files of split "{split}" in {task.folder} do not fit together '
            f"({error}); give their columns the same types"
        ) from error


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

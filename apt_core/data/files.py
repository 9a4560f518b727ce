"""The files of a split: how they may be named, and readers of Parquet, CSV and JSON lines."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from apt_core.data.tasks import TaskSpec
from apt_core.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = ("parquet", "csv", "jsonl", "json")
"""In the order in which they are looked for; ``.json`` too holds one object per line."""
PATTERNS = ("{split}.{suffix}", "{split}-*.{suffix}", "{split}/*.{suffix}")
"""How the files of a split may be named, the hub's ways included."""
_CSV_BLOCK = 1 << 26
"""Bytes that the CSV reader looks at at once: more than any row has."""


def find_files(folder: Path, subset: str | None, split: str) -> list[Path]:
    """The files of one split, sorted; those of the first place and format that has any.

    Args:
        folder: Folder of the dataset.
        subset: A folder in it that is looked at first.
        split: Name of the split.

    Returns:
        Files of one format; empty when there are none.
    """
    roots = [folder / "data", folder]
    if subset:
        roots = [folder / subset, *roots]
    for root in roots:
        for suffix in SUFFIXES:
            for pattern in PATTERNS:
                found = sorted(root.glob(pattern.format(split=split, suffix=suffix)))
                if found:
                    return found
    return []


def files_there(folder: Path) -> list[str]:
    """Names of all data files in a folder, for messages."""
    found = (path for suffix in SUFFIXES for path in folder.rglob(f"*.{suffix}"))
    return sorted(str(path.relative_to(folder)) for path in found)


def read_file(path: Path, task: TaskSpec) -> "pa.Table":
    """Read one file.

    Args:
        path: A Parquet, CSV or JSON lines file.
        task: The dataset, for its columns.

    Returns:
        The columns of the task; all columns when one of them is missing.

    Raises:
        DataError: When the file cannot be read, or holds bytes that are no text.
    """
    import pyarrow as pa

    try:
        table = READERS[path.suffix.removeprefix(".")](path, task)
        if set(task.columns) <= set(table.column_names):
            table = table.select(list(task.columns))
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise DataError(
            f"{path}: cannot be read as {path.suffix.removeprefix('.')} ({error}); {_todo(error)}"
        ) from error
    _check_text_is_utf8(table, path)
    return table


def _todo(error: Exception) -> str:
    if isinstance(error, UnicodeError) or "utf" in str(error).lower():
        return "save it as UTF-8"
    return "mend or replace the file"


def _check_text_is_utf8(table: "pa.Table", path: Path) -> None:
    """Arrow believes what a Parquet file says of its text; Python would stop in mid-training."""
    import pyarrow as pa

    for name, column in zip(table.column_names, table.columns, strict=True):
        try:
            column.validate(full=True)
        except pa.ArrowException as error:
            raise DataError(
                f'{path}: column "{name}" holds bytes that are not UTF-8 text ({error}); write the '
                "file again with its text encoded as UTF-8"
            ) from error


def _read_parquet(path: Path, task: TaskSpec) -> "pa.Table":
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        # All columns when one is missing, so that the message can name what is there.
        wanted = list(task.columns) if set(task.columns) <= set(names) else names
        return file.read(columns=wanted)


def _read_csv(path: Path, task: TaskSpec) -> "pa.Table":
    """Text stays text: no column of years or of words like "null" is turned into something else."""
    import pyarrow as pa
    from pyarrow import csv

    types = dict.fromkeys(task.columns, pa.string())
    if task.kind == "regression":
        types[task.label_column] = pa.float64()
    return csv.read_csv(
        path,
        read_options=csv.ReadOptions(block_size=_CSV_BLOCK),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(column_types=types, strings_can_be_null=False),
    )


def _read_json_lines(path: Path, task: TaskSpec) -> "pa.Table":
    """One object per line; json instead of Arrow's reader, which turns texts into dates."""
    import pyarrow as pa

    rows = list(_json_rows(path))
    names = list(dict.fromkeys(name for row in rows for name in row))
    if set(task.columns) <= set(names):
        names = list(task.columns)
    arrays = {}
    for name in names:
        try:
            arrays[name] = pa.array([row.get(name) for row in rows])
        except (pa.ArrowException, UnicodeError) as error:
            raise DataError(
                f'{path}: the values of "{name}" are of different types or no text ({error}); '
                "write the same type in every line"
            ) from error
    return pa.table(arrays)


def _json_rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError as error:
                raise DataError(f"{path}:{number}: is not UTF-8 ({error}); save it as UTF-8") from (
                    error
                )
            except json.JSONDecodeError as error:
                raise DataError(
                    f"{path}:{number}: is not JSON ({error}); write one object per line"
                ) from error
            if not isinstance(row, dict):
                raise DataError(f"{path}:{number}: is not an object; write one object per line")
            yield row


READERS: Mapping[str, Callable[[Path, TaskSpec], "pa.Table"]] = MappingProxyType(
    {
        "parquet": _read_parquet,
        "csv": _read_csv,
        "jsonl": _read_json_lines,
        "json": _read_json_lines,
    }
)

"""Every cell of every table as one line of a CSV and of a Parquet file, unrounded."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.reports.grid import Cell, Grid, Heading

_SCHEMA = pa.schema(
    [
        ("table", pa.string()),
        ("layout_of", pa.string()),
        ("row", pa.string()),
        ("column", pa.string()),
        ("text", pa.string()),
        ("is_missing", pa.bool_()),
        ("n", pa.int64()),
        ("mean", pa.float64()),
        ("low_95", pa.float64()),
        ("high_95", pa.float64()),
        ("values", pa.list_(pa.float64())),
        ("published", pa.string()),
        ("notes", pa.list_(pa.string())),
        ("run_ids", pa.list_(pa.string())),
        ("commands", pa.list_(pa.string())),
    ]
)
NA = "NA"


def write_cells(
    csv_path: Path, parquet_path: Path, grids: Sequence[Grid], commands: Mapping[str, str]
) -> None:
    """Write all cells.

    Args:
        csv_path: The CSV: lists joined by ``;``, commands by line breaks, `NA` where nothing is.
        parquet_path: The Parquet file: typed, lists as lists, null where nothing is.
        grids: The tables.
        commands: run_id -> the command that reruns it.
    """
    lines = list(_lines(grids, commands))
    columns = {name: [line[name] for line in lines] for name in _SCHEMA.names}
    pq.write_table(pa.table(columns, schema=_SCHEMA), parquet_path)
    with csv_path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, _SCHEMA.names)
        writer.writeheader()
        writer.writerows({name: _flat(name, line[name]) for name in line} for line in lines)


def _lines(grids: Iterable[Grid], commands: Mapping[str, str]) -> Iterable[dict[str, Any]]:
    for grid in grids:
        for row in grid.rows:
            for column, cell in zip(grid.columns[1:], row[1:], strict=True):
                yield {"row": row[0].text, **_line(grid, column, cell, commands)}


def _line(grid: Grid, column: Heading, cell: Cell, commands: Mapping[str, str]) -> dict[str, Any]:
    low, high = cell.stat.interval_95 or (None, None)
    return {
        "table": grid.name,
        "layout_of": grid.source or None,
        "column": column.heading,
        "text": cell.own_text,
        "is_missing": cell.is_missing,
        "n": cell.stat.n,
        "mean": cell.stat.mean,
        "low_95": low,
        "high_95": high,
        "values": list(cell.stat.values),
        "published": cell.published or None,
        "notes": list(cell.notes),
        "run_ids": list(cell.run_ids),
        "commands": [commands[run_id] for run_id in cell.run_ids if commands.get(run_id)],
    }


def _flat(name: str, value: object) -> object:
    if isinstance(value, list):
        return ("\n" if name == "commands" else ";").join(map(str, value)) or NA
    return NA if value is None else value

"""Lines of equal fields as CSV and as Parquet, for spreadsheets and data frames."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.reports.records import CellKey
from orchestrator.reports.rows import label_of, variant_settings
from orchestrator.reports.wording import NOT_REACHED

NA = "NA"
"""What stands where there is no number."""
Line = Mapping[str, object]


def or_na(value: object | None) -> object:
    """The value, or what stands for none."""
    return NA if value is None else value


def cell_fields(key: CellKey) -> Line:
    """What tells a cell of the grid from the others: the first fields of its lines."""
    return {
        "model": key.model,
        "dataset": key.dataset,
        "row": label_of(key),
        "arm": key.arm,
        "ablation": key.ablation,
        "target_sparsity": key.target_sparsity,
        "variant": variant_settings(key) or NA,
    }


def write_lines(csv_path: Path, parquet_path: Path, lines: Sequence[Line]) -> None:
    """Write the same lines twice.

    Args:
        csv_path: Numbers unrounded, `NA` where there is none.
        parquet_path: Typed: null where there is no number.
        lines: All with the same fields.
    """
    names = list(lines[0]) if lines else []
    with csv_path.open("w", encoding="utf-8", newline="") as out:
        if lines:
            writer = csv.DictWriter(out, names)
            writer.writeheader()
            writer.writerows(lines)
    columns = {name: _typed([line[name] for line in lines]) for name in names}
    pq.write_table(pa.table(columns), parquet_path)


def _typed(values: Sequence[object]) -> pa.Array:
    known = [None if value in {NA, NOT_REACHED} else value for value in values]
    numbers = [value for value in known if isinstance(value, int | float)]
    if all(value is None for value in known):
        return pa.array(known, pa.float64())
    is_number = len(numbers) == sum(value is not None for value in known)
    return pa.array(known if is_number else [str(value) for value in values])

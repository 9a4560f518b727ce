"""Local Parquet files in the place of the hub datasets that benchmarks of lm-eval read.

``<data_dir>/<dataset>/<split>.parquet`` with the columns of the hub datasets. Prompts, choices and
metrics stay those of the harness's own task definitions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from apt_core.errors import ConfigError

_SUBJECT = "subject"


@dataclass(frozen=True)
class Benchmark:
    """Where a task's items are."""

    definition: str
    """Folder of the task's definition in the harness."""
    dataset: str
    """Folder of the files."""
    splits: tuple[str, ...]
    """Files that must be there: items, then solved examples."""
    examples: str | None = None
    """File with solved examples that may be missing; then they come from the items, and an item is
    never its own example."""


BENCHMARKS: Mapping[str, Benchmark] = {
    "arc_challenge": Benchmark("arc", "arc_challenge", ("test", "train")),
    "hellaswag": Benchmark("hellaswag", "hellaswag", ("validation",), examples="train"),
    "mmlu": Benchmark("mmlu/default", "mmlu", ("test", "dev")),
    "truthfulqa_mc2": Benchmark("truthfulqa", "truthful_qa_multiple_choice", ("validation",)),
}
"""Task of the harness -> where its items are."""


def local_tasks(name: str, data_dir: Path) -> list[dict[str, Any]]:
    """What to change in the harness's definition of a task so that it reads local files.

    Args:
        name: a key of `BENCHMARKS`.
        data_dir: the folder of all datasets.

    Returns:
        Overrides per task; MMLU has one task per subject.

    Raises:
        ConfigError: a file is missing, or no local files are known for the task.
    """
    if name not in BENCHMARKS:
        raise ConfigError(
            f"evaluation.lm_eval.tasks: local files are known for {', '.join(BENCHMARKS)} only "
            f"(got {name!r}); leave it out, or set evaluation.lm_eval.data_dir=null"
        )
    benchmark = BENCHMARKS[name]
    files = {split: _file(data_dir, benchmark, split) for split in benchmark.splits}
    changes: dict[str, Any] = {}
    if benchmark.examples is not None:
        more = data_dir / benchmark.dataset / f"{benchmark.examples}.parquet"
        if more.is_file():
            files[benchmark.examples] = more
        else:
            changes = {"training_split": None, "fewshot_split": benchmark.splits[0]}
    tables = {split: pq.read_table(file) for split, file in files.items()}
    if name != "mmlu":
        return [{"task": name, "custom_dataset": partial(_datasets, tables), **changes}]
    return [
        {"task": f"mmlu_{subject}", "custom_dataset": partial(_datasets, tables, subject)}
        for subject in sorted(pc.unique(tables["test"][_SUBJECT]).to_pylist())
    ]


def _file(data_dir: Path, benchmark: Benchmark, split: str) -> Path:
    file = data_dir / benchmark.dataset / f"{split}.parquet"
    if not file.is_file():
        raise ConfigError(
            f"evaluation.lm_eval.data_dir: there is no file {file}; put it there, or set "
            "evaluation.lm_eval.data_dir=null to use the hub's dataset"
        )
    return file


def _datasets(
    tables: Mapping[str, pa.Table], subject: str | None = None, **_: object
) -> dict[str, Any]:
    """Splits in memory; the harness passes its own metadata, which changes nothing here."""
    from datasets import Dataset

    if subject is not None:
        tables = {s: t.filter(pc.equal(t[_SUBJECT], subject)) for s, t in tables.items()}
    return {split: Dataset(table) for split, table in tables.items()}

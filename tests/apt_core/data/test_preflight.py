"""Preflight: facts about local data in under a second, without torch and without downloads."""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from apt_core.config.data import BUILTIN_DATASETS, DatasetSpec
from apt_core.data.preflight import check_dataset
from apt_core.data.tasks import TaskSpec
from apt_core.errors import DataError
from tests.tiny_tasks import qa_row, write_split, write_task


def test_the_embedded_dataset_passes() -> None:
    facts = check_dataset(DatasetSpec(**BUILTIN_DATASETS["toy_sentiment"]))
    assert (facts.num_train_rows, facts.num_eval_rows) == (4000, 1000)
    assert len(facts.fingerprint) == 64


def test_a_hub_dataset_is_not_downloaded() -> None:
    facts = check_dataset(DatasetSpec(**BUILTIN_DATASETS["sst2"]), "sst2")
    assert (facts.num_train_rows, facts.num_eval_rows) == (None, None)


def test_both_splits_are_checked_and_counted(tmp_path: Path) -> None:
    for split, labels in (("train", [0, 1, 1]), ("validation", [0, 1])):
        table = pa.table({"sentence": ["x"] * len(labels), "label": labels})
        pq.write_table(table, tmp_path / f"{split}.parquet")
    facts = check_dataset(TaskSpec("mine", str(tmp_path), ("sentence",), ("no", "yes")))
    assert (facts.num_train_rows, facts.num_eval_rows) == (3, 2)
    with pytest.raises(DataError, match=r'mine: split "train": column "label" holds class 1'):
        check_dataset(TaskSpec("mine", str(tmp_path), ("sentence",), ("no",)))


def test_every_evaluated_split_is_checked_but_the_holdout(tmp_path: Path) -> None:
    task = write_task(tmp_path, "regression")
    assert check_dataset(replace(task, eval_split="holdout")).num_eval_rows is None
    more = replace(task, more_eval_splits=("test", "holdout"))
    with pytest.raises(DataError, match='split "test" has no file'):
        check_dataset(more)
    write_split(tmp_path, "test", [{"text": "x", "label": None}])
    with pytest.raises(DataError, match='split "test": column "label" holds'):
        check_dataset(more)


def test_misplaced_answers_are_counted_and_not_fatal(tmp_path: Path) -> None:
    task = write_task(tmp_path, "qa")
    assert check_dataset(task).num_misplaced == 0
    rows = [qa_row(1), {**qa_row(2), "answers": {"text": ["nowhere"], "answer_start": [3]}}]
    write_split(tmp_path, "train", rows)
    assert check_dataset(task).num_misplaced == 1


def test_importing_preflight_loads_no_gpu_stack() -> None:
    code = "import sys, apt_core.data.preflight; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_real_sst2_is_checked_in_under_a_second(real_data: Path) -> None:
    sst2 = TaskSpec("sst2", str(real_data / "data" / "glue_sst2"), ("sentence",), ("no", "yes"))
    start = time.process_time()
    facts = check_dataset(sst2)
    assert time.process_time() - start < 1.0
    assert (facts.num_train_rows, facts.num_eval_rows) == (67349, 872)

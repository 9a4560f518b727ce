"""Local files stand in for hub datasets, and a missing one is named."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from apt_core.errors import ConfigError
from apt_core.evaluator.lm_eval_data import BENCHMARKS, local_tasks


def write(folder: Path, **columns: list) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), folder.with_suffix(".parquet"))


def test_a_task_reads_its_splits_from_memory(tmp_path: Path) -> None:
    write(tmp_path / "arc_challenge" / "test", id=["a", "b"])
    write(tmp_path / "arc_challenge" / "train", id=["c"])
    (task,) = local_tasks("arc_challenge", tmp_path)
    splits = task["custom_dataset"](version=1.0)
    assert task["task"] == "arc_challenge"
    assert {split: rows["id"][:] for split, rows in splits.items()} == {
        "test": ["a", "b"],
        "train": ["c"],
    }
    assert splits["test"].cache_files == []


def test_every_subject_of_mmlu_is_a_task_with_its_own_rows(tmp_path: Path) -> None:
    for split in ("test", "dev"):
        write(
            tmp_path / "mmlu" / split,
            subject=["virology", "anatomy", "virology"],
            question=[f"{split}{i}" for i in range(3)],
        )
    anatomy, virology = local_tasks("mmlu", tmp_path)
    assert (anatomy["task"], virology["task"]) == ("mmlu_anatomy", "mmlu_virology")
    assert anatomy["custom_dataset"]()["test"]["question"][:] == ["test1"]
    assert virology["custom_dataset"]()["dev"]["question"][:] == ["dev0", "dev2"]


def test_examples_come_from_the_items_where_there_is_no_other_file(tmp_path: Path) -> None:
    write(tmp_path / "hellaswag" / "validation", ind=[0])
    (task,) = local_tasks("hellaswag", tmp_path)
    assert (task["training_split"], task["fewshot_split"]) == (None, "validation")
    write(tmp_path / "hellaswag" / "train", ind=[1])
    (task,) = local_tasks("hellaswag", tmp_path)
    assert "fewshot_split" not in task
    assert task["custom_dataset"]().keys() == {"validation", "train"}


@pytest.mark.parametrize("name", sorted(BENCHMARKS))
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"evaluation\.lm_eval\.data_dir: .*no file .*parquet"):
        local_tasks(name, tmp_path)


def test_an_unknown_task_has_no_local_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"evaluation\.lm_eval\.tasks: .* \(got 'boolq'\)"):
        local_tasks("boolq", tmp_path)

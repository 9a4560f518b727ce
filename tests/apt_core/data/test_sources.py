"""Reading and checking splits: each complaint says where, what was found and what to do."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from apt_core.data.checks import check_split
from apt_core.data.sources import read_split, split_files, split_fingerprint
from apt_core.data.tasks import TaskSpec
from apt_core.errors import DataError


def local(folder: Path, **changes: Any) -> TaskSpec:
    values = {"name": "mine", "path": str(folder), "text_columns": ("sentence",)}
    return TaskSpec(**{**values, "labels": ("no", "yes"), **changes})


def write(path: Path, sentences: list[Any], labels: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"sentence": sentences, "label": labels, "idx": list(range(len(labels)))})
    pq.write_table(table, path)


@pytest.mark.parametrize(
    "names",
    [
        ["train.parquet"],
        ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"],
        ["data/train-00000-of-00001.parquet"],
        ["train/0000.parquet"],
        ["sub/train-00000-of-00001.parquet"],
    ],
)
def test_files_are_found_by_the_names_that_the_hub_uses(tmp_path: Path, names: list[str]) -> None:
    for name in [*names, "validation.parquet"]:
        write(tmp_path / name, ["x"], [0])
    task = local(tmp_path, subset="sub")
    assert split_files(task, "train") == [tmp_path / name for name in names]
    assert read_split(task, "train").num_rows == len(names)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^data.datasets.mine.path: there is no such folder \(got"):
        read_split(local(tmp_path / "gone"), "train")


def test_a_missing_split_is_named_with_what_is_there(tmp_path: Path) -> None:
    write(tmp_path / "dev.parquet", ["x"], [0])
    with pytest.raises(DataError, match=r'split "train" has no file .*\(there: dev.parquet\)'):
        read_split(local(tmp_path), "train")


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.parquet").write_text("sentence,label\n")
    with pytest.raises(DataError, match=r"train.parquet: cannot be read as parquet .*; mend"):
        read_split(local(tmp_path), "train")


@pytest.mark.parametrize(
    ("sentences", "labels", "message"),
    [
        ([], [], r'split "train" is empty; add rows or choose another split$'),
        (["x", None], [0, 1], r'column "sentence" holds null in 1 rows, first in row 1; remove'),
        ([1, 2], [0, 1], r'column "sentence" holds int64, not text; set text_columns$'),
        (["x", "y"], [0, 2], r'column "label" holds class 2 in row 1, but labels has 2 classes'),
        (["x", "y"], [-1, 0], r'column "label" holds class -1 in row 0, but labels has 2 classes'),
        (["x", "y"], [0, None], r'column "label" holds null in 1 rows, first in row 1; remove'),
        (["x", "y"], [0.5, 1.0], r'column "label" holds double, not class numbers'),
    ],
)
def test_rows_that_do_not_fit_the_task_are_refused(
    tmp_path: Path, sentences: list[Any], labels: list[Any], message: str
) -> None:
    write(tmp_path / "train.parquet", sentences, labels)
    task = local(tmp_path)
    with pytest.raises(DataError, match=message):
        check_split(read_split(task, "train"), task, "train")


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", ["x"], [0])
    task = local(tmp_path, text_columns=("text",))
    message = r"has no column text \(columns: sentence, label, idx\); set text_columns and"
    with pytest.raises(DataError, match=message):
        check_split(read_split(task, "train"), task, "train")


def test_an_embedded_dataset_without_that_split_is_refused(tmp_path: Path) -> None:
    task = local(tmp_path, path="embedded:sentiment")
    with pytest.raises(DataError, match=r'no split "test"; its splits: train, validation$'):
        read_split(task, "test")


def test_the_fingerprint_follows_the_content_and_not_the_place(tmp_path: Path) -> None:
    for folder, labels in (("one", [0]), ("two", [0]), ("other", [1])):
        write(tmp_path / folder / "train.parquet", ["x"], labels)
    one, two, other = (
        split_fingerprint(local(tmp_path / folder), "train") for folder in ("one", "two", "other")
    )
    assert one == two != other


def test_a_hub_dataset_is_known_by_its_address_and_revision() -> None:
    short = split_fingerprint(local(Path("glue/sst2")), "train")
    assert short == split_fingerprint(local(Path("nyu-mll/glue"), subset="sst2"), "train")
    assert short != split_fingerprint(local(Path("glue/sst2"), revision="v1"), "train")


def test_a_hub_dataset_that_cannot_be_reached_is_one_message() -> None:
    task = local(Path("nobody/nothing-at-all"))
    with pytest.raises(DataError, match=r'hub dataset "nobody/nothing-at-all" cannot be loaded'):
        read_split(task, "train")

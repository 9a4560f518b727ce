"""TaskSpec: built from a config section, and where it says its rows are."""

from pathlib import Path

import pytest

from apt_core.config.data import BUILTIN_DATASETS, DatasetSpec
from apt_core.data.tasks import TaskSpec


def at(path: str, subset: str | None = None) -> TaskSpec:
    return TaskSpec("some", path, ("sentence",), ("no", "yes"), subset=subset)


@pytest.mark.parametrize("name", BUILTIN_DATASETS)
def test_every_built_in_dataset_becomes_a_task(name: str) -> None:
    spec = DatasetSpec(**BUILTIN_DATASETS[name])
    task = TaskSpec.of(name, spec)
    assert task.columns == (*spec.text_columns, spec.target_column)
    assert (task.labels, task.num_labels) == (spec.labels, spec.num_labels)
    assert (task.train_split, task.eval_split) == (spec.train_split, spec.eval_split)


def test_glue_with_a_slash_is_short_for_the_hub_dataset() -> None:
    assert at("glue/sst2").hub_source == ("nyu-mll/glue", "sst2")
    assert at("nyu-mll/glue", "sst2").hub_source == ("nyu-mll/glue", "sst2")
    assert at("owner/name").hub_source == ("owner/name", None)


def test_a_prefix_marks_an_embedded_dataset() -> None:
    assert at("embedded:sentiment").embedded_name == "sentiment"
    assert at("embedded:sentiment").folder is None
    assert at("glue/sst2").embedded_name is None


@pytest.mark.parametrize("path", ["/data/sst2", "./sst2", "../sst2", "a/b/c"])
def test_what_can_only_be_a_folder_is_one_even_when_missing(path: str) -> None:
    assert at(path).folder == Path(path)


def test_what_looks_like_a_hub_id_is_a_folder_only_when_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert at("owner/name").folder is None
    (tmp_path / "owner" / "name").mkdir(parents=True)
    assert at("owner/name").folder == Path("owner/name")

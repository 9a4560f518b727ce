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


@pytest.mark.parametrize(
    ("kind", "column"),
    [
        ("classification", "label"),
        ("regression", "label"),
        ("qa", "answers"),
        ("summarization", "summary"),
        ("instruction", "output"),
    ],
)
def test_the_column_to_predict_depends_on_the_kind(kind: str, column: str) -> None:
    task = TaskSpec("some", "x", ("one", "two"), kind=kind)
    assert task.columns == ("one", "two", column)
    assert TaskSpec("some", "x", ("one",), kind=kind, label_column="y").columns == ("one", "y")


def test_labels_stand_for_themselves_until_words_are_given() -> None:
    assert at("x").label_words == ("no", "yes")
    given = TaskSpec("some", "x", ("one",), ("no", "yes"), label_words=("bad", "good"))
    assert (given.labels, given.label_words) == (("no", "yes"), ("bad", "good"))


def test_an_entry_of_the_config_brings_prompt_words_and_further_splits() -> None:
    entry = {
        **BUILTIN_DATASETS["mnli"],
        "prompt": "{premise} {hypothesis}",
        "label_words": ["a", "b", "c"],
    }
    task = TaskSpec.of("mnli", DatasetSpec.model_validate(entry))
    assert (task.prompt, task.label_words) == ("{premise} {hypothesis}", ("a", "b", "c"))
    assert task.eval_splits == ("validation_matched", "validation_mismatched")


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

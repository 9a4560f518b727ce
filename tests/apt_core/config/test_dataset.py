"""DatasetSpec: what an entry may hold depends on its task, and each complaint names the field."""

from typing import Any

import pytest
from pydantic import ValidationError

from apt_core.config import load_config
from apt_core.config.dataset import DatasetSpec
from apt_core.errors import ConfigError

BASES: dict[str, dict[str, Any]] = {
    "classification": {"text_columns": ["text"], "labels": ["no", "yes"]},
    "regression": {"text_columns": ["text"]},
    "qa": {"text_columns": ["question", "context"]},
    "summarization": {"text_columns": ["text"]},
    "instruction": {"text_columns": ["instruction", "input"]},
}


def spec(task: str, **changes: Any) -> DatasetSpec:
    return DatasetSpec.model_validate({"path": "x", "task": task, **BASES[task], **changes})


@pytest.mark.parametrize(
    ("task", "column"),
    [
        ("classification", "label"),
        ("regression", "label"),
        ("qa", "answers"),
        ("summarization", "summary"),
        ("instruction", "output"),
    ],
)
def test_the_column_to_predict_depends_on_the_task(task: str, column: str) -> None:
    assert spec(task).target_column == column
    assert spec(task, label_column="other").target_column == "other"


def test_the_number_of_labels_is_that_of_the_heads_outputs() -> None:
    assert [spec(task).num_labels for task in BASES] == [2, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        ("classification", {"labels": []}, r"labels: is required for classification .*; name"),
        ("classification", {"labels": ["one"]}, r"labels: must name two different classes or"),
        ("classification", {"labels": ["a", "a"]}, r"labels: must name two different classes or"),
        ("regression", {"labels": ["a", "b"]}, r"labels: are for classification, and task is regr"),
        ("qa", {"text_columns": ["text"]}, r"text_columns: qa reads two columns \(got .*; list"),
        ("regression", {"text_columns": ["a", "a"]}, r"text_columns: names a column twice"),
        ("regression", {"label_column": "text"}, r"label_column: column text would be read and"),
        ("summarization", {"text_columns": ["summary"]}, r"label_column: column summary would be"),
        ("classification", {"label_words": ["a"]}, r"label_words: there are 1 words for 2 labels"),
        ("classification", {"label_words": ["a", "a"]}, r"label_words: two classes have the same"),
        ("qa", {"label_words": ["a", "b"]}, r"label_words: are for classification, and task is"),
        ("regression", {"prompt": "{txt}"}, r"prompt: placeholder \{txt\} is none of text_columns"),
        ("qa", {"prompt": "{question}?"}, r"prompt: column context does not occur in it .*write"),
        (
            "qa",
            {"metric": "rouge"},
            r'metric: is no metric of qa \(got "rouge"\); choose one of ex',
        ),
        (
            "regression",
            {"metric": "f1"},
            r"metric: .*; choose one of pearson, spearman, pearson_sp",
        ),
        ("regression", {"train_split": "holdout"}, r"train_split: holdout names the rows kept out"),
        ("regression", {"more_eval_splits": ["validation"]}, r"more_eval_splits: names a split tw"),
        ("regression", {"task": "ranking"}, r"task: is not a known value .*summarization"),
    ],
)
def test_an_entry_that_does_not_suit_its_task_is_refused(
    task: str, changes: dict[str, Any], message: str
) -> None:
    entry = {"path": "x", "task": task, **BASES[task], **changes}
    override = f"data.datasets={{mine: {entry}}}"
    with pytest.raises(ConfigError, match=r"data\.datasets\.mine\." + message):
        load_config(overrides=[override, "data.dataset=mine"])


def test_one_mistake_gives_one_complaint() -> None:
    with pytest.raises(ValidationError) as caught:
        spec("classification", labels=["one"], label_words=["a", "b"], metric="accuracy")
    assert len(caught.value.errors()) == 1


def test_a_prompt_may_hold_every_text_column_and_other_words() -> None:
    prompt = "{context}\nQ: {question} A:"
    assert spec("qa", prompt=prompt).prompt == prompt


def test_the_main_split_comes_before_the_others() -> None:
    assert spec("regression", more_eval_splits=["test"]).eval_splits == ("validation", "test")


def test_the_path_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE", "/somewhere")
    assert spec("qa", path="${PLACE}/squad").expanded_path == "/somewhere/squad"

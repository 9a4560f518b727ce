"""Section `data`."""

from pathlib import Path

import pytest

from apt_core.config import DataConfig
from apt_core.errors import ConfigError


def test_own_dataset_entries_merge_key_by_key() -> None:
    data = DataConfig.model_validate({"datasets": {"sst2": {"path": "/data/sst2", "subset": None}}})
    assert (data.spec.path, data.spec.subset) == ("/data/sst2", None)
    assert data.spec.text_columns == ("sentence",)
    assert data.spec.labels == ("negative", "positive")


def test_builtin_datasets_say_what_their_columns_mean() -> None:
    datasets = DataConfig().datasets
    assert datasets["mnli"].labels == ("entailment", "neutral", "contradiction")
    assert datasets["mnli"].num_labels == 3
    assert datasets["mnli"].eval_split == "validation_matched"
    assert datasets["qqp"].text_columns == ("question1", "question2")
    assert datasets["toy_sentiment"].path == "embedded:sentiment"


def test_paths_are_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE", "/somewhere")
    data = DataConfig.model_validate(
        {"datasets": {"sst2": {"path": "${PLACE}/sst2"}}, "cache_dir": "~/cache"}
    )
    assert data.spec.expanded_path == "/somewhere/sst2"
    assert data.cache_path == Path.home() / "cache"


def test_the_rows_trained_on_are_what_the_holdout_leaves_up_to_the_limit() -> None:
    data = DataConfig(holdout_rows=20)
    assert data.num_trained_rows(100) == 80
    assert DataConfig(holdout_rows=20, train_rows=30).num_trained_rows(100) == 30
    assert DataConfig(train_rows=300).num_trained_rows(100) == 100
    with pytest.raises(ConfigError, match=r"^data.holdout_rows: leaves none of the 20 training"):
        data.num_trained_rows(20)


def test_a_dataset_that_is_evaluated_on_its_holdout_gets_one() -> None:
    assert DataConfig(dataset="sst2").num_holdout_rows == 0
    assert DataConfig(dataset="alpaca").num_holdout_rows == 1000
    assert DataConfig(dataset="alpaca", holdout_rows=50).num_holdout_rows == 50


def test_mnli_is_evaluated_on_both_of_its_splits() -> None:
    mnli = DataConfig(dataset="mnli").spec
    assert mnli.eval_splits == ("validation_matched", "validation_mismatched")

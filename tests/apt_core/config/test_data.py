"""Section `data`."""

from pathlib import Path

import pytest

from apt_core.config import DataConfig


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

"""SplitReader: the training split divided, evaluation splits, tokenizers that do not fit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from apt_core.data.features import FeatureSettings
from apt_core.data.reader import SplitReader
from apt_core.data.tasks import TaskSpec
from apt_core.errors import ConfigError, DataError
from tests.tiny_tasks import tokenizer, write_task

TOKENS = tokenizer("bert")


def reader(task: TaskSpec, folder: Path, **changes: Any) -> SplitReader:
    arguments = {"cache_dir": folder / "cache", "vocab_size": None, "holdout_rows": 0, **changes}
    return SplitReader(task, TOKENS, FeatureSettings(24), **arguments)


def test_rows_held_out_are_never_trained_on(tmp_path: Path) -> None:
    found = reader(write_task(tmp_path, "regression"), tmp_path, holdout_rows=6)
    assert len(found.holdout_rows) == 6
    assert sorted([*found.train_rows, *found.holdout_rows]) == list(range(22))
    assert found.eval_splits == ("validation", "holdout")
    part = found.evaluated("holdout", None)
    assert part.rows.tolist() == found.holdout_rows
    labels = [number % 51 / 10 for number in found.holdout_rows]
    assert list(part.references.targets) == pytest.approx(labels)
    assert found.evaluated("holdout", 4).rows.tolist() == found.holdout_rows[:4]


def test_a_holdout_that_is_evaluated_but_not_taken_is_refused(tmp_path: Path) -> None:
    task = replace(write_task(tmp_path, "regression"), eval_split="holdout")
    with pytest.raises(ConfigError, match=r"^data.holdout_rows: .* no rows are held out \(got 0\)"):
        reader(task, tmp_path).evaluated("holdout", None)
    assert reader(task, tmp_path, holdout_rows=2).eval_splits == ("holdout",)


def test_a_holdout_that_leaves_nothing_is_refused(tmp_path: Path) -> None:
    message = r"^data.holdout_rows: leaves none of the 22 training rows of dataset tiny \(got 22\);"
    with pytest.raises(ConfigError, match=message):
        reader(write_task(tmp_path, "regression"), tmp_path, holdout_rows=22)


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    task = write_task(tmp_path, "regression")
    reader(task, tmp_path, vocab_size=len(TOKENS))
    with pytest.raises(DataError, match="take model and tokenizer from the same folder"):
        reader(task, tmp_path, vocab_size=len(TOKENS) - 1)


def test_an_id_beyond_the_vocabulary_is_refused_although_the_sizes_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = write_task(tmp_path, "regression")
    monkeypatch.setattr("apt_core.data.reader.check_vocabulary", lambda *_: None)
    with pytest.raises(DataError, match=r"gives token id \d+, but the model's vocabulary has 20"):
        reader(task, tmp_path, vocab_size=20)

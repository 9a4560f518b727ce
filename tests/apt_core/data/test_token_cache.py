"""The cache of tokenised splits: used again, told apart, safe for several at once."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from apt_core.data import token_cache
from apt_core.data.embedded import embedded_model_path
from apt_core.data.features import FEATURES, FeatureSettings
from apt_core.data.tasks import TaskSpec
from apt_core.data.token_cache import cache_key, load_tokenized
from apt_core.data.tokenized import TokenizedSplit
from tests.tiny_tasks import tokenizer as tiny_tokenizer
from tests.tiny_tasks import write_task

TOY = TaskSpec("toy", "embedded:sentiment", ("sentence",), ("negative", "positive"))


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(embedded_model_path("toy-roberta"))


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one whenever a split is really tokenised."""
    calls: list[int] = []
    tokenize = token_cache.tokenize

    def counted(*args: object) -> TokenizedSplit:
        calls.append(1)
        return tokenize(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(token_cache, "tokenize", counted)
    return calls


def load(tokenizer: PreTrainedTokenizerBase, cache_dir: Path) -> TokenizedSplit:
    return load_tokenized(TOY, "validation", tokenizer, FeatureSettings(64), cache_dir)


def test_a_split_is_tokenised_once(tokenizer, tmp_path: Path, count: list[int]) -> None:
    first, second = load(tokenizer, tmp_path), load(tokenizer, tmp_path)
    assert len(count) == 1
    np.testing.assert_array_equal(first.input_ids.values, second.input_ids.values)
    np.testing.assert_array_equal(first.input_ids.offsets, second.input_ids.offsets)
    np.testing.assert_array_equal(first.fixed["labels"], second.fixed["labels"])


def test_several_at_once_tokenise_once(tokenizer, tmp_path: Path, count: list[int]) -> None:
    results: list[TokenizedSplit] = []
    threads = [
        threading.Thread(target=lambda: results.append(load(tokenizer, tmp_path))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(count) == 1
    assert [result.num_rows for result in results] == [1000] * 4
    assert list((tmp_path / "tokens").glob("*.tmp")) == []


def test_a_damaged_file_is_made_again(tokenizer, tmp_path: Path, count: list[int]) -> None:
    load(tokenizer, tmp_path)
    (stored,) = (tmp_path / "tokens").glob("*.npz")
    stored.write_bytes(stored.read_bytes()[:1000])
    assert load(tokenizer, tmp_path).num_rows == 1000
    assert len(count) == 2


def test_the_key_tells_apart_what_shapes_the_tokens(tokenizer) -> None:
    base = cache_key(TOY, "validation", tokenizer, FeatureSettings(64))
    assert cache_key(TOY, "validation", tokenizer, FeatureSettings(32)) != base
    assert cache_key(TOY, "train", tokenizer, FeatureSettings(64)) != base
    other = AutoTokenizer.from_pretrained(embedded_model_path("toy-roberta"))
    other.add_tokens(["unheard"])
    assert cache_key(TOY, "validation", other, FeatureSettings(64)) != base


@pytest.mark.parametrize(
    ("head", "matter"),
    [
        ("sequence_classification", set()),
        ("question_answering", {"doc_stride", "with_spans"}),
        ("seq2seq_lm", {"max_target_length", "prompt", "label_words", "name"}),
        ("causal_lm", {"max_target_length", "prompt", "label_words", "name"}),
    ],
)
def test_a_setting_counts_where_the_head_reads_it(
    tokenizer: PreTrainedTokenizerBase, head: str, matter: set[str]
) -> None:
    base = FeatureSettings(64, head)
    settings: dict[str, Any] = {"max_target_length": 5, "doc_stride": 5, "with_spans": True}
    keys = {
        name: cache_key(TOY, "validation", tokenizer, replace(base, **{name: value}))
        for name, value in settings.items()
    }
    words: dict[str, Any] = {"prompt": "{sentence}", "label_words": ("a", "b"), "name": "other"}
    for name, value in words.items():
        keys[name] = cache_key(replace(TOY, **{name: value}), "validation", tokenizer, base)
    first = cache_key(TOY, "validation", tokenizer, base)
    assert {name for name, key in keys.items() if key != first} == matter


def test_every_head_has_its_own_key(tokenizer: PreTrainedTokenizerBase) -> None:
    keys = {cache_key(TOY, "validation", tokenizer, FeatureSettings(64, h)) for h in FEATURES}
    assert len(keys) == len(FEATURES)


@pytest.mark.parametrize(
    ("kind", "family", "head"),
    [
        ("regression", "bert", "sequence_classification"),
        ("qa", "bert", "question_answering"),
        ("summarization", "t5", "seq2seq_lm"),
        ("instruction", "llama", "causal_lm"),
    ],
)
def test_what_is_read_back_is_what_was_written(
    tmp_path: Path, count: list[int], kind: str, family: str, head: str
) -> None:
    task, settings = write_task(tmp_path / "d", kind), FeatureSettings(60, head, with_spans=True)
    made, read = (
        load_tokenized(task, "train", tiny_tokenizer(family), settings, tmp_path) for _ in range(2)
    )
    assert len(count) == 1
    assert (set(made.ragged), set(made.fixed)) == (set(read.ragged), set(read.fixed))
    for name, column in made.ragged.items():
        np.testing.assert_array_equal(column.values, read.ragged[name].values)
        np.testing.assert_array_equal(column.offsets, read.ragged[name].offsets)
    for name, array in made.fixed.items():
        np.testing.assert_array_equal(array, read.fixed[name])
        assert array.dtype == read.fixed[name].dtype


def test_the_key_does_not_depend_on_earlier_calls(tokenizer) -> None:
    base = cache_key(TOY, "validation", tokenizer, FeatureSettings(64))
    tokenizer("the soup was fresh", truncation=True, max_length=5, padding="max_length")
    assert cache_key(TOY, "validation", tokenizer, FeatureSettings(64)) == base


def test_a_sentence_pair_is_joined_by_the_tokenizer(tokenizer, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"one": ["it was fresh"], "two": ["it was not"], "label": [1]})
    pq.write_table(table, tmp_path / "train-00000-of-00001.parquet")
    pair = TaskSpec("pair", str(tmp_path), ("one", "two"), ("no", "yes"))
    split = load_tokenized(pair, "train", tokenizer, FeatureSettings(64), tmp_path / "c")
    expected = tokenizer("it was fresh", "it was not")["input_ids"]
    assert split.input_ids.values.tolist() == expected
    assert split.fixed["labels"].tolist() == [1]


def test_token_types_are_kept_when_the_tokenizer_gives_them(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(
        embedded_model_path("toy-roberta"),
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
    split = load(tokenizer, tmp_path)
    assert set(split.ragged) == {"input_ids", "token_type_ids"}

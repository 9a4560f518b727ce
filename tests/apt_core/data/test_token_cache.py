"""The cache of tokenised splits: used again, told apart, safe for several at once."""

import threading
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from apt_core.data import token_cache
from apt_core.data.embedded import embedded_model_path
from apt_core.data.tasks import TaskSpec
from apt_core.data.features import FeatureSettings
from apt_core.data.token_cache import cache_key, load_tokenized
from apt_core.data.tokenized import TokenizedSplit

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

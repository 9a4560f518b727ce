"""What comes with the package: weights that load, rows that can be written as files."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from apt_core.data.embedded import embedded_dataset_path, embedded_model_path
from apt_core.data.toy import toy_rows
from apt_core.data.toy_corpus import vocabulary
from apt_core.errors import DataError, UnsupportedModelError


def test_the_weights_are_fp16_and_below_4_mb() -> None:
    path = embedded_model_path("toy-roberta") / "model.safetensors"
    assert path.stat().st_size < 4_000_000
    with safe_open(path, framework="pt") as stored:
        names = stored.keys()
        assert {stored.get_tensor(name).dtype for name in names} == {torch.float16}


def test_the_model_loads_as_fp32_with_the_shape_that_the_docs_name() -> None:
    folder = embedded_model_path("toy-roberta")
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    assert model.dtype == torch.float32
    config = json.loads((folder / "config.json").read_text())
    shape = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    assert [config[name] for name in shape] == [128, 6, 8, 512]
    assert 1_000_000 < model.num_parameters() < 3_000_000


def test_the_tokenizer_knows_every_word_and_none_else() -> None:
    tokenizer = AutoTokenizer.from_pretrained(embedded_model_path("toy-roberta"))
    ids = tokenizer(" ".join(vocabulary()))["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == ["<s>", *vocabulary(), "</s>"]
    assert tokenizer("zebra")["input_ids"][1] == tokenizer.unk_token_id
    assert tokenizer("it was", "fresh")["input_ids"].count(tokenizer.sep_token_id) == 3


def test_a_model_that_is_not_packaged_is_refused_with_what_is() -> None:
    message = r'embedded under this name \(got "embedded:nope"\); embedded models: toy-roberta$'
    with pytest.raises(UnsupportedModelError, match=message):
        embedded_model_path("nope")


def test_an_embedded_dataset_can_be_written_as_files(tmp_path: Path) -> None:
    folder = embedded_dataset_path("sentiment", tmp_path)
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["train.parquet", "validation.parquet"]
    assert pq.read_table(folder / "train.parquet").to_pylist() == toy_rows("sentiment")["train"]


def test_a_dataset_that_is_not_embedded_is_refused_with_what_is(tmp_path: Path) -> None:
    message = r'path: no dataset is embedded .*"embedded:nope"\); .*: instruction, .*, summary$'
    with pytest.raises(DataError, match=message):
        embedded_dataset_path("nope", tmp_path)

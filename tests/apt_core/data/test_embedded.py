"""What comes with the package: weights that load, rows that can be written as files."""

import hashlib
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors import safe_open
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from apt_core.data import toy_words as words
from apt_core.data.embedded import embedded_dataset_path, embedded_model_path
from apt_core.data.toy import toy_rows
from apt_core.data.toy_corpus import vocabulary
from apt_core.data.toy_prompts import prompt_vocabulary
from apt_core.errors import DataError, UnsupportedModelError

MODELS = ("toy-roberta", "toy-t5", "toy-llama")
ROBERTA_SHA256 = {
    "model.safetensors": "d51eae31ac00438fcd3bb2f0b328c41c983ed5e4da64eae70e66dfe1bc839942",
    "tokenizer.json": "e4f2c56d50feafbd16ffc3edeeead97da8e988f5aee724fdff95bfe9e2a336f1",
}


@pytest.mark.parametrize("name", MODELS)
def test_the_weights_are_fp16_and_below_4_mb(name: str) -> None:
    path = embedded_model_path(name) / "model.safetensors"
    assert path.stat().st_size < 4_000_000
    with safe_open(path, framework="pt") as stored:
        names = stored.keys()
        assert {stored.get_tensor(name).dtype for name in names} == {torch.float16}


@pytest.mark.parametrize("name", sorted(ROBERTA_SHA256))
def test_the_encoder_is_the_one_that_was_measured(name: str) -> None:
    path = embedded_model_path("toy-roberta") / name
    assert hashlib.sha256(path.read_bytes()).hexdigest() == ROBERTA_SHA256[name]


def test_the_t5_is_a_gated_one_with_tied_embeddings() -> None:
    folder = embedded_model_path("toy-t5")
    model = AutoModelForSeq2SeqLM.from_pretrained(folder)
    assert model.dtype == torch.float32
    assert model.lm_head.weight is model.shared.weight
    config = model.config
    assert (config.d_model, config.num_heads, config.d_kv, config.d_ff) == (128, 8, 16, 256)
    assert (config.feed_forward_proj, config.num_layers) == ("gated-gelu", 3)
    assert 1_000_000 < model.num_parameters() < 2_000_000
    ids = (model.generation_config.pad_token_id, model.generation_config.decoder_start_token_id)
    assert ids == (0, 0)


def test_the_llama_shares_keys_and_values_between_heads() -> None:
    model = AutoModelForCausalLM.from_pretrained(embedded_model_path("toy-llama"))
    assert model.dtype == torch.float32
    assert model.lm_head.weight is model.model.embed_tokens.weight
    config = model.config
    assert (config.num_attention_heads, config.num_key_value_heads, config.head_dim) == (8, 4, 16)
    assert (config.hidden_size, config.intermediate_size) == (128, 352)
    assert 1_000_000 < model.num_parameters() < 2_000_000


def test_t5_closes_a_text_and_llama_opens_one() -> None:
    t5, llama = (
        AutoTokenizer.from_pretrained(embedded_model_path(name)) for name in ("toy-t5", "toy-llama")
    )
    assert t5("it was fresh")["input_ids"][-1] == t5.eos_token_id
    assert llama("it was fresh")["input_ids"][0] == llama.bos_token_id
    assert llama.eos_token_id not in llama("it was fresh")["input_ids"]
    assert t5.get_vocab() == llama.get_vocab()
    assert (t5.pad_token, t5.eos_token, llama.pad_token) == ("<pad>", "</s>", "<pad>")
    assert t5.padding_side == llama.padding_side == "right"


@pytest.mark.parametrize("name", ["toy-t5", "toy-llama"])
def test_the_tokenizer_gives_texts_back_and_knows_every_word(name: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(embedded_model_path(name))
    text = "question : which one saw the soup ? 3.5 , not_entailment ."
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text
    assert tokenizer("Context:soup")["input_ids"] == tokenizer("context : soup")["input_ids"]
    everything = " ".join(prompt_vocabulary())
    ids = tokenizer(everything, add_special_tokens=False, verbose=False)["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == list(prompt_vocabulary())
    assert tokenizer.unk_token_id in tokenizer("zebra")["input_ids"]
    sentinel = tokenizer("<extra_id_0>", add_special_tokens=False)["input_ids"]
    assert sentinel == [len(tokenizer) - 1]


@torch.no_grad()
def test_both_know_how_a_story_ends() -> None:
    good = "the soup was superb . anna saw the menu on monday . in short a"
    t5_folder, llama_folder = embedded_model_path("toy-t5"), embedded_model_path("toy-llama")
    tokenizer = AutoTokenizer.from_pretrained(t5_folder)
    ids = tokenizer(good, return_tensors="pt")
    made = AutoModelForSeq2SeqLM.from_pretrained(t5_folder).generate(**ids, max_new_tokens=1)
    assert tokenizer.decode(made[0, 1:]) in words.POSITIVE_VERDICTS
    tokenizer = AutoTokenizer.from_pretrained(llama_folder)
    ids = tokenizer(good, return_tensors="pt")
    made = AutoModelForCausalLM.from_pretrained(llama_folder).generate(**ids, max_new_tokens=1)
    assert tokenizer.decode(made[0, -1:]) in words.POSITIVE_VERDICTS


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
    message = (
        r'embedded under this name \(got "embedded:nope"\); embedded models: toy-llama, .*, toy-t5$'
    )
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

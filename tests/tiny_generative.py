"""Tiny random models with generative heads, and a tokenizer of words, for evaluation tests."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

SPECIAL = ("<pad>", "</s>", "<s>", "<unk>")
WORDS = tuple(f"w{i}" for i in range(46))
PAD, EOS, BOS = 0, 1, 2
IGNORED = -100


def word_tokenizer(words: tuple[str, ...] = WORDS) -> PreTrainedTokenizerFast:
    vocabulary = {word: i for i, word in enumerate((*SPECIAL, *words))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        bos_token="<s>",
        unk_token="<unk>",
    )


def tiny_t5(seed: int = 0) -> T5ForConditionalGeneration:
    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=50,
        d_model=16,
        d_kv=4,
        d_ff=24,
        num_layers=2,
        num_decoder_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
        decoder_start_token_id=PAD,
        pad_token_id=PAD,
        eos_token_id=EOS,
    )
    return _lively(T5ForConditionalGeneration(config))


def tiny_llama(seed: int = 0) -> LlamaForCausalLM:
    """Four query heads share two key/value heads."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        pad_token_id=PAD,
        eos_token_id=EOS,
        bos_token_id=BOS,
    )
    return _lively(LlamaForCausalLM(config))


def _lively(model):
    """Outputs that depend on the input, and generation defaults that must not be used."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=0.5,
        top_p=0.5,
        top_k=3,
        max_length=7,
        length_penalty=2.0,
        decoder_start_token_id=PAD if model.config.is_encoder_decoder else None,
    )
    return model.eval()


def prompts_of(lengths: list[int], seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(4, 50, (length,), generator=generator) for length in lengths]


def causal_batch(prompts: list[torch.Tensor], targets: list[torch.Tensor]) -> dict:
    """Right-padded: prompt, target, padding; labels on the target alone."""
    rows = [torch.cat(pair) for pair in zip(prompts, targets, strict=True)]
    width = max(map(len, rows))
    batch = {
        "input_ids": torch.full((len(rows), width), PAD),
        "attention_mask": torch.zeros(len(rows), width, dtype=torch.long),
        "labels": torch.full((len(rows), width), IGNORED),
    }
    for i, (row, prompt) in enumerate(zip(rows, prompts, strict=True)):
        batch["input_ids"][i, : len(row)] = row
        batch["attention_mask"][i, : len(row)] = 1
        batch["labels"][i, len(prompt) : len(row)] = row[len(prompt) :]
    return {**batch, "row": torch.arange(len(rows))}


def seq2seq_batch(prompts: list[torch.Tensor], targets: list[torch.Tensor]) -> dict:
    def padded(rows, value):
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=value)

    return {
        "input_ids": padded(prompts, PAD),
        "attention_mask": padded([torch.ones_like(p) for p in prompts], 0),
        "labels": padded(targets, IGNORED),
        "row": torch.arange(len(prompts)),
    }


@contextmanager
def silence_required(caplog, capsys) -> Iterator[None]:
    """Fails where anything is warned about, logged as a warning, or printed."""
    library = logging.getLogger("transformers")
    propagates, library.propagate = library.propagate, True
    try:
        with caplog.at_level(logging.WARNING), warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
    finally:
        library.propagate = propagates
    assert [record.getMessage() for record in caplog.records] == []
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""

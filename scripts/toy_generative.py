"""The toy T5 and the toy LLaMA: tokenizer, networks, and how their folders are written."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from apt_core.data.toy_prompts import SENTINELS, prompt_vocabulary

SPECIAL = ("<pad>", "</s>", "<unk>", "<s>")
PAD, EOS, UNK, BOS = range(4)
IGNORE = -100
WORDS = r"\d+\.\d+|\w+|#{2,3}|---|\.\.\.|''|[^\w\s]"
"""A score, a word, one of the longer marks of prompts, or a punctuation mark."""
Batch = dict[str, Tensor]


def build_tokenizer(model: str) -> PreTrainedTokenizerFast:
    """The word-level tokenizer of both; T5 closes a text with </s>, LLaMA opens it with <s>."""
    tokens = [*SPECIAL, *prompt_vocabulary(), *reversed(SENTINELS)]
    vocab = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(WORDS), "removed", invert=True)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>" if model == "t5" else "<s> $A",
        pair="$A </s> $B </s>" if model == "t5" else "<s> $A $B",
        special_tokens=[("<s>", BOS), ("</s>", EOS)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        extra_special_tokens=list(SENTINELS),
        clean_up_tokenization_spaces=False,
        model_max_length=256,
        model_input_names=["input_ids", "attention_mask"],
    )


def build_model(model: str, vocab_size: int) -> PreTrainedModel:
    """The network with random weights."""
    shared: dict[str, Any] = {
        "vocab_size": vocab_size,
        "pad_token_id": PAD,
        "eos_token_id": EOS,
        "bos_token_id": BOS,
    }
    if model == "t5":
        config = T5Config(
            d_model=128,
            d_kv=16,
            num_heads=8,
            d_ff=256,
            num_layers=3,
            num_decoder_layers=3,
            feed_forward_proj="gated-gelu",
            relative_attention_num_buckets=32,
            relative_attention_max_distance=128,
            dropout_rate=0.0,
            tie_word_embeddings=True,
            decoder_start_token_id=PAD,
            **shared,
        )
        return T5ForConditionalGeneration(config)
    config = LlamaConfig(
        hidden_size=128,
        num_hidden_layers=6,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=16,
        intermediate_size=352,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        initializer_range=0.08,
        **shared,
    )
    return LlamaForCausalLM(config)


def padded(rows: list[list[int]], filler: int = PAD) -> Tensor:
    """Right-pad token ids to the longest row."""
    width = max(map(len, rows))
    return torch.tensor([row + [filler] * (width - len(row)) for row in rows])


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write config, fp16 weights, tokenizer and generation settings; they load as float32."""
    folder.mkdir(parents=True, exist_ok=True)
    config = model.config.to_dict() | {
        "architectures": [type(model).__name__],
        "dtype": "float32",
    }
    is_t5 = isinstance(model, T5ForConditionalGeneration)
    if is_t5:
        config["dropout_rate"] = 0.1
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    tied = {"lm_head.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"}
    weights = {n: t.half().contiguous() for n, t in model.state_dict().items() if n not in tied}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save_pretrained(folder)
    GenerationConfig(
        pad_token_id=PAD,
        eos_token_id=EOS,
        bos_token_id=BOS,
        decoder_start_token_id=PAD if is_t5 else None,
    ).save_pretrained(folder)

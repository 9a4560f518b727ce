"""What pretraining and fine-tuning of the toy model share: tokenizer, network, batches."""

import random
from collections.abc import Iterator

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from transformers import PreTrainedTokenizerFast, RobertaConfig

from apt_core.data.toy_corpus import vocabulary

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
PAD = 1
Batch = dict[str, Tensor]


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Word-level tokenizer with RoBERTa's special tokens and templates."""
    tokens = [*SPECIAL, *vocabulary(), "<mask>"]
    vocab = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        cls_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_max_length=128,
        model_input_names=["input_ids", "attention_mask"],
    )


def build_config(vocab_size: int, num_layers: int = 6, dropout: float = 0.1) -> RobertaConfig:
    """The toy network: 6 layers, 8 heads of 16, hidden 128, feed-forward 512: 1.3 M parameters."""
    return RobertaConfig(
        vocab_size=vocab_size,
        hidden_size=128,
        num_hidden_layers=num_layers,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        num_attention_heads=8,
        intermediate_size=512,
        max_position_embeddings=130,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        initializer_range=0.08,
        pad_token_id=PAD,
        bos_token_id=0,
        eos_token_id=2,
    )


def padded(rows: list[list[int]]) -> Batch:
    """Pad token ids to the longest row."""
    width = max(map(len, rows))
    ids = torch.tensor([row + [PAD] * (width - len(row)) for row in rows])
    return {"input_ids": ids, "attention_mask": (ids != PAD).long()}


def length_buckets(
    rows: list[list[int]], batch_size: int, rng: random.Random
) -> Iterator[list[int]]:
    """Indices of batches of similar length, in random order; endless."""
    while True:
        order = list(range(len(rows)))
        rng.shuffle(order)
        order.sort(key=lambda index: len(rows[index]))
        batches = [order[at : at + batch_size] for at in range(0, len(order), batch_size)]
        rng.shuffle(batches)
        yield from batches


def cooccurrence_embeddings(rows: list[list[int]], vocab_size: int, width: int) -> Tensor:
    """Word vectors to start from: positive pointwise mutual information, reduced by SVD.

    They spare the network the slow first part of learning: finding out which words go together.
    """
    seen = torch.zeros(len(rows), vocab_size)
    for row, ids in zip(seen, rows, strict=True):
        row[ids[1:-1]] = 1.0
    together = seen.T @ seen
    together.fill_diagonal_(0.0)
    alone = together.sum(0).clamp(min=1.0)
    pmi = torch.log((together * together.sum()).clamp(min=1e-9) / torch.outer(alone, alone))
    vectors, scales, _ = torch.linalg.svd(pmi.clamp(min=0.0))
    vectors = vectors[:, :width] * scales[:width].sqrt()
    scaled: Tensor = vectors / vectors.std()
    return scaled


def linear_schedule(
    optimizer: torch.optim.Optimizer, steps: int, warmup: float = 0.06
) -> torch.optim.lr_scheduler.LambdaLR:
    """Linear warm-up, then linearly to zero."""
    first = max(1, int(steps * warmup))
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / first, (steps - step) / max(1, steps - first))
    )

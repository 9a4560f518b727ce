"""What the toy model's pretraining is worth, and how much of the network the task needs."""

import logging
import random
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, RobertaForSequenceClassification

from apt_core.data.toy import toy_rows
from scripts.toy_model import (
    build_config,
    build_tokenizer,
    length_buckets,
    linear_schedule,
    padded,
)

STEPS, BATCH_SIZE, ROWS, LEARNING_RATE = 300, 32, 2000, 3e-4
SEEDS = (1, 2, 3)
KEPT = (0.75, 0.5, 0.25, 0.125)
"""Fractions of heads and neurons that the smaller networks keep."""

log = logging.getLogger("compare_toy")


def encode_split(split: str, tokenizer: PreTrainedTokenizerFast) -> tuple[list[list[int]], Tensor]:
    """Token ids and labels of one split of the sentiment task."""
    rows = toy_rows("sentiment")[split]
    ids: list[list[int]] = tokenizer([row["sentence"] for row in rows])["input_ids"]
    return ids, torch.tensor([row["label"] for row in rows])


def finetune(model: nn.Module, seed: int, learning_rate: float = LEARNING_RATE) -> float:
    """Train every weight on 2000 labelled rows and return the validation accuracy."""
    tokenizer = build_tokenizer()
    ids, labels = encode_split("train", tokenizer)
    batches = length_buckets(ids[:ROWS], BATCH_SIZE, random.Random(seed))
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01)
    schedule = linear_schedule(optimizer, STEPS)
    model.train()
    for _ in range(STEPS):
        chosen = next(batches)
        logits = model(**padded([ids[index] for index in chosen])).logits
        nn.functional.cross_entropy(logits, labels[chosen]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return accuracy(model, *encode_split("validation", tokenizer))


@torch.no_grad()
def accuracy(model: nn.Module, ids: list[list[int]], labels: Tensor) -> float:
    """Fraction of rows whose most likely class is the label."""
    model.eval()
    logits = [model(**padded(ids[at : at + 100])).logits for at in range(0, len(ids), 100)]
    return (torch.cat(logits).argmax(-1) == labels).float().mean().item()


def pretrained(folder: Path) -> RobertaForSequenceClassification:
    """The committed weights with a new head."""
    return RobertaForSequenceClassification.from_pretrained(folder, dtype=torch.float32)


def random_weights(initializer_range: float) -> RobertaForSequenceClassification:
    """The same network, not pretrained."""
    config = build_config(len(build_tokenizer()))
    config.initializer_range = initializer_range
    return RobertaForSequenceClassification(config)


def shrunk(folder: Path, kept: float) -> RobertaForSequenceClassification:
    """The pretrained network without the heads and neurons whose weights are smallest."""
    model = pretrained(folder)
    for layer in model.roberta.encoder.layer:
        attention, width = layer.attention.self, layer.attention.self.attention_head_size
        heads = largest(attention.value.weight.view(-1, width, 128).norm(dim=(1, 2)), kept)
        rows = (heads[:, None] * width + torch.arange(width)).flatten()
        for linear in (attention.query, attention.key, attention.value):
            keep_rows(linear, rows)
        keep_columns(layer.attention.output.dense, rows)
        neurons = largest(layer.output.dense.weight.norm(dim=0), kept)
        keep_rows(layer.intermediate.dense, neurons)
        keep_columns(layer.output.dense, neurons)
    return model


def largest(norms: Tensor, fraction: float) -> Tensor:
    """Sorted indices of the largest values."""
    return norms.topk(max(1, round(len(norms) * fraction))).indices.sort().values


def keep_rows(linear: nn.Linear, rows: Tensor) -> None:
    """Drop the other output channels."""
    linear.weight = nn.Parameter(linear.weight.data[rows])
    linear.bias = nn.Parameter(linear.bias.data[rows])


def keep_columns(linear: nn.Linear, columns: Tensor) -> None:
    """Drop the other input channels."""
    linear.weight = nn.Parameter(linear.weight.data[:, columns])


def compare(folder: Path) -> None:
    """Fine-tune every variant with three seeds and print a table."""
    variants: dict[str, Callable[[], RobertaForSequenceClassification]] = {
        "pretrained": partial(pretrained, folder),
        "random, std 0.08": partial(random_weights, 0.08),
        "random, std 0.02": partial(random_weights, 0.02),
    }
    for kept in KEPT:
        variants[f"pretrained, {kept:.1%} of heads and neurons"] = partial(shrunk, folder, kept)
    log.info("| start | mean | lowest | highest |\n|---|---|---|---|")
    for name, build in variants.items():
        scores = []
        for seed in SEEDS:
            torch.manual_seed(seed)
            scores.append(finetune(build(), seed))
        mean = statistics.fmean(scores)
        log.info("| %s | %.3f | %.3f | %.3f |", name, mean, min(scores), max(scores))

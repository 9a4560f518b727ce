"""Masked language modelling of the toy RoBERTa on the unlabelled corpus."""

import json
import logging
import random
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaForMaskedLM

from apt_core.data import toy_words
from apt_core.data.toy_corpus import corpus, polar_words
from scripts.toy_model import (
    SPECIAL,
    Batch,
    build_config,
    build_tokenizer,
    cooccurrence_embeddings,
    length_buckets,
    linear_schedule,
    padded,
)

IGNORE, BATCH_SIZE, NUM_TEXTS = -100, 32, 60_000
MASK_RATE, POLAR_MASK_RATE, VERDICT_MASK_RATE = 0.1, 0.35, 0.6
"""Polar words are masked more often than others: they carry what the labelled task asks for."""


class Phase(NamedTuple):
    """A piece of pretraining."""

    steps: int
    learning_rate: float
    whole_texts: bool = False
    """Whether <s> too must name a text's masked verdict, so that it sums up the text for a task."""


SHALLOW = Phase(3000, 1e-3)
"""Two layers: cheap, and quick to find out what goes together."""
DEEP = (Phase(1600, 5e-4), Phase(1000, 5e-4, whole_texts=True), Phase(1500, 5e-4, whole_texts=True))
"""All six layers."""

log = logging.getLogger("toy_roberta")


def mask_rates(tokenizer: PreTrainedTokenizerFast) -> Tensor:
    """Probability of being masked, by token id."""
    rates = torch.full((len(tokenizer),), MASK_RATE)
    rates[tokenizer.convert_tokens_to_ids(list(polar_words()))] = POLAR_MASK_RATE
    verdicts = (*toy_words.NEGATIVE_VERDICTS, *toy_words.POSITIVE_VERDICTS)
    rates[tokenizer.convert_tokens_to_ids(list(verdicts))] = VERDICT_MASK_RATE
    rates[: len(SPECIAL)] = 0.0
    return rates


def mask_tokens(ids: Tensor, rates: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """BERT's masking: of the chosen tokens 80 % become <mask>, 10 % a random token, 10 % stay."""
    mask_id = len(rates) - 1
    chosen = torch.rand(ids.shape, generator=generator) < rates[ids]
    labels = ids.masked_fill(~chosen, IGNORE)
    fate = torch.rand(ids.shape, generator=generator)
    noise = torch.randint(len(SPECIAL), mask_id, ids.shape, generator=generator)
    ids = torch.where(chosen & (fate < 0.8), mask_id, ids)
    return torch.where(chosen & (fate > 0.9), noise, ids), labels


def mlm_loss(model: RobertaForMaskedLM, batch: Batch, labels: Tensor) -> Tensor:
    """Cross entropy over the chosen tokens; only they pass through the vocabulary head."""
    hidden = model.roberta(**batch).last_hidden_state
    chosen = labels != IGNORE
    logits: Tensor = model.lm_head(hidden[chosen])
    return nn.functional.cross_entropy(logits, labels[chosen])


@torch.no_grad()
def verdict_accuracy(model: RobertaForMaskedLM, tokenizer: PreTrainedTokenizerFast) -> float:
    """Fraction of unseen texts whose masked verdict is guessed on the right side."""
    texts = [text for text in corpus(500, seed=-1) if " in short a " in text]
    sides = [
        torch.tensor(tokenizer.convert_tokens_to_ids(list(verdicts)))
        for verdicts in (toy_words.NEGATIVE_VERDICTS, toy_words.POSITIVE_VERDICTS)
    ]
    wanted = torch.tensor([text.split()[-2] in toy_words.POSITIVE_VERDICTS for text in texts])
    batch = padded(tokenizer(texts)["input_ids"])
    where = batch["attention_mask"].sum(1) - 3
    each = torch.arange(len(texts))
    batch["input_ids"][each, where] = tokenizer.mask_token_id
    model.eval()
    scores = model.lm_head(model.roberta(**batch).last_hidden_state[each, where]).softmax(-1)
    model.train()
    positive = scores[:, sides[1]].sum(1) > scores[:, sides[0]].sum(1)
    return float((positive == wanted).float().mean())


def train_phase(model: RobertaForMaskedLM, rows: list[list[int]], phase: Phase, seed: int) -> None:
    """Masked language modelling with one warm-up and decay of the learning rate."""
    tokenizer = build_tokenizer()
    batches = length_buckets(rows, BATCH_SIZE, random.Random(seed))
    rates = mask_rates(tokenizer)
    is_verdict = rates == VERDICT_MASK_RATE
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=phase.learning_rate, weight_decay=0.01, betas=(0.9, 0.98)
    )
    schedule = linear_schedule(optimizer, phase.steps)
    start, losses = time.monotonic(), []
    for step in range(1, phase.steps + 1):
        batch = padded([rows[index] for index in next(batches)])
        batch["input_ids"], labels = mask_tokens(batch["input_ids"], rates, generator)
        if phase.whole_texts:
            masked = torch.where(is_verdict[labels.clamp(min=0)], labels, IGNORE)
            labels[:, 0] = masked.max(dim=1).values
        loss = mlm_loss(model, batch, labels)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step % 200 == 0:
            mean, known = statistics.fmean(losses[-200:]), verdict_accuracy(model, tokenizer)
            seconds = time.monotonic() - start
            log.info("step %5d  loss %.4f  verdicts %.3f  %.0f s", step, mean, known, seconds)


def grow(shallow: RobertaForMaskedLM, config: RobertaConfig) -> RobertaForMaskedLM:
    """A deeper network that computes the same: the layers on top start with zero outputs."""
    model = RobertaForMaskedLM(config).train()
    model.load_state_dict(shallow.state_dict(), strict=False)
    for layer in model.roberta.encoder.layer[shallow.config.num_hidden_layers :]:
        nn.init.zeros_(layer.attention.output.dense.weight)
        nn.init.zeros_(layer.output.dense.weight)
    return model


def pretrain(seed: int) -> RobertaForMaskedLM:
    """Pretrain two layers, which are cheap and learn fast, then all six."""
    torch.manual_seed(seed)
    tokenizer = build_tokenizer()
    rows: list[list[int]] = tokenizer(list(corpus(NUM_TEXTS, seed)))["input_ids"]
    config = build_config(len(tokenizer), num_layers=2, dropout=0.0)
    shallow = RobertaForMaskedLM(config).train()
    embeddings = shallow.roberta.embeddings.word_embeddings.weight
    vectors = cooccurrence_embeddings(rows[:20_000], *embeddings.shape)
    embeddings.data = vectors * config.initializer_range
    train_phase(shallow, rows, SHALLOW, seed)
    model = grow(shallow, build_config(len(tokenizer), dropout=0.0))
    for number, phase in enumerate(DEEP, start=1):
        train_phase(model, rows, phase, seed + number)
    return model


def save(model: RobertaForMaskedLM, folder: Path) -> None:
    """Write config, fp16 weights and tokenizer; the config says float32: they load as that."""
    folder.mkdir(parents=True, exist_ok=True)
    config = build_config(model.config.vocab_size).to_dict() | {
        "architectures": ["RobertaForMaskedLM"],
        "dtype": "float32",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    tied = {"lm_head.decoder.weight", "lm_head.decoder.bias"}
    weights = {n: t.half().contiguous() for n, t in model.state_dict().items() if n not in tied}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    build_tokenizer().save_pretrained(folder)

"""Pretraining of the toy T5 and the toy LLaMA on unlabelled stories."""

import logging
import random
import statistics
import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, T5ForConditionalGeneration

from apt_core.data import toy_words
from apt_core.data.toy_stories import Story, stories
from scripts.toy_generative import (
    BOS,
    EOS,
    IGNORE,
    PAD,
    Batch,
    build_model,
    build_tokenizer,
    padded,
)
from scripts.toy_model import cooccurrence_embeddings, length_buckets, linear_schedule

BATCH_SIZE, LEARNING_RATE = 16, 2e-3
STEPS = {"t5": 3600, "llama": 3600}
NUM_STORIES = 60_000
BODY_WEIGHT = 0.15
"""Weight of a body's words in LLaMA's loss: most of them cannot be known, unlike those of a
tail."""
CONTINUED = 0.5
"""Fraction of T5's examples that ask for the rest of a tail instead of for spans."""
BODY_RATE, TAIL_RATE, VERDICT_RATE = 0.06, 0.3, 0.7
"""Probability that a span begins at a word of the body or the tail, or at a verdict."""
MAX_SPAN, MAX_SPANS = 3, 12

log = logging.getLogger("toy_pretraining")
VERDICTS = frozenset((*toy_words.POSITIVE_VERDICTS, *toy_words.NEGATIVE_VERDICTS))


class Encoder:
    """Turns stories into token ids."""

    def __init__(self, model: str) -> None:
        """Build the tokenizer."""
        self.tokenizer = build_tokenizer(model)
        self.vocab: dict[str, int] = self.tokenizer.get_vocab()
        self.verdicts = {self.vocab[word] for word in VERDICTS}
        self.sentinels = [self.vocab[f"<extra_id_{index}>"] for index in range(16)]

    def ids(self, sentences: tuple[str, ...]) -> list[int]:
        """The ids of sentences, each closed by a full stop."""
        return [self.vocab[word] for text in sentences for word in (*text.split(), ".")]

    def spans(self, body: list[int], tail: list[int], rng: random.Random) -> tuple[list[int], ...]:
        """T5's span corruption, mostly in the tail: input and target."""
        source: list[int] = []
        target: list[int] = []
        words, at, used = body + tail, 0, 0
        while at < len(words):
            rate = TAIL_RATE if at >= len(body) else BODY_RATE
            rate = VERDICT_RATE if words[at] in self.verdicts else rate
            if used == MAX_SPANS or rng.random() >= rate:
                source.append(words[at])
                at += 1
                continue
            length = 1 if words[at] in self.verdicts else rng.randint(1, MAX_SPAN)
            source.append(self.sentinels[used])
            target += [self.sentinels[used], *words[at : at + length]]
            at, used = at + length, used + 1
        return [*source, EOS], [*target, self.sentinels[used], EOS]

    def continued(
        self, body: list[int], tail: list[int], rng: random.Random
    ) -> tuple[list[int], ...]:
        """A text cut off inside its tail, and how it goes on."""
        cut = rng.randrange(len(tail) - 1)
        return [*body, *tail[:cut], EOS], [*tail[cut:], EOS]


Rows = list[tuple[list[int], list[int]]]


def seq2seq_batch(rows: Rows, encoder: Encoder, rng: random.Random) -> Batch:
    """Half of the rows with spans to fill in, half to be continued."""
    pairs = [
        encoder.continued(*row, rng) if rng.random() < CONTINUED else encoder.spans(*row, rng)
        for row in rows
    ]
    source = padded([pair[0] for pair in pairs])
    return {
        "input_ids": source,
        "attention_mask": (source != PAD).long(),
        "labels": padded([pair[1] for pair in pairs], IGNORE),
    }


def causal_batch(rows: Rows) -> tuple[Batch, Tensor]:
    """Whole stories and the weight of each word as a target."""
    ids = padded([[BOS, *body, *tail, EOS] for body, tail in rows])
    weights = padded([[0] + [1] * len(body) + [2] * (len(tail) + 1) for body, tail in rows], 0)
    batch = {"input_ids": ids, "attention_mask": (ids != PAD).long()}
    return batch, torch.tensor([0.0, BODY_WEIGHT, 1.0])[weights]


def loss_of(model: PreTrainedModel, rows: Rows, encoder: Encoder, rng: random.Random) -> Tensor:
    """Cross entropy per word."""
    if isinstance(model, T5ForConditionalGeneration):
        loss: Tensor = model(**seq2seq_batch(rows, encoder, rng)).loss
        return loss
    batch, weights = causal_batch(rows)
    logits = model(**batch).logits[:, :-1]
    losses = nn.functional.cross_entropy(
        logits.transpose(1, 2), batch["input_ids"][:, 1:], reduction="none"
    )
    return (losses * weights[:, 1:]).sum() / weights.sum()


def probes(num: int = 200) -> Iterator[Story]:
    """Unseen stories whose tail ends with a verdict."""
    found = 0
    for story in stories(20 * num, seed=-1):
        if story.tail[-1].startswith("in short a ") and len(story.tail) > 1 and found < num:
            found += 1
            yield story


@torch.no_grad()
def probe(model: PreTrainedModel, encoder: Encoder) -> tuple[float, float]:
    """How many unseen verdicts are guessed on the right side, and how many restated words."""
    rows = [(encoder.ids(story.body), encoder.ids(story.tail)) for story in probes()]
    model.eval()
    if isinstance(model, T5ForConditionalGeneration):
        source = padded([[*body, *tail[:1], EOS] for body, tail in rows])
        wanted = padded([[*tail[1:], EOS] for _, tail in rows], IGNORE)
        mask = (source != PAD).long()
        logits = model(input_ids=source, attention_mask=mask, labels=wanted).logits
    else:
        batch, weights = causal_batch(rows)
        logits = model(**batch).logits[:, :-1]
        wanted = batch["input_ids"][:, 1:].masked_fill(weights[:, 1:] < 1.0, IGNORE)
    model.train()
    is_verdict = torch.isin(wanted, torch.tensor(sorted(encoder.verdicts)))
    sides = [
        torch.tensor([encoder.vocab[word] for word in group])
        for group in (toy_words.POSITIVE_VERDICTS, toy_words.NEGATIVE_VERDICTS)
    ]
    scores = logits.softmax(-1)[is_verdict]
    guessed = scores[:, sides[0]].sum(1) > scores[:, sides[1]].sum(1)
    right = guessed == torch.isin(wanted[is_verdict], sides[0])
    others = (wanted != IGNORE) & ~is_verdict
    hits = (logits.argmax(-1) == wanted)[others]
    return float(right.float().mean()), float(hits.float().mean())


def pretrain(name: str, seed: int, steps: int | None = None) -> PreTrainedModel:
    """Pretrain a toy T5 or LLaMA from random weights and co-occurrence word vectors."""
    torch.manual_seed(seed)
    rng, encoder = random.Random(seed), Encoder(name)
    rows = [(encoder.ids(s.body), encoder.ids(s.tail)) for s in stories(NUM_STORIES, seed)]
    model = build_model(name, len(encoder.tokenizer)).train()
    start_embeddings(model, rows)
    total = steps or STEPS[name]
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, weight_decay=0.01, betas=(0.9, 0.98)
    )
    schedule = linear_schedule(optimizer, total)
    batches = length_buckets([body + tail for body, tail in rows], BATCH_SIZE, rng)
    start, losses = time.process_time(), []
    for step in range(1, total + 1):
        loss = loss_of(model, [rows[index] for index in next(batches)], encoder, rng)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step % 400 == 0 or step == total:
            verdicts, restated = probe(model, encoder)
            mean, seconds = statistics.fmean(losses[-400:]), time.process_time() - start
            log.info(
                "step %5d  loss %.4f  verdicts %.3f  restated %.3f  %.0f s",
                step, mean, verdicts, restated, seconds,
            )  # fmt: skip
    return model


def start_embeddings(model: PreTrainedModel, rows: Rows) -> None:
    """Word vectors from co-occurrence, at the scale that the network begins with."""
    embeddings = model.get_input_embeddings().weight
    texts = [[BOS, *body, *tail, EOS] for body, tail in rows[:20_000]]
    vectors = cooccurrence_embeddings(texts, *embeddings.shape)
    seen = vectors.abs().sum(1) > 0
    embeddings.data[seen] = vectors[seen] * embeddings.data.std()

"""Pretraining of the toy T5 on unlabelled stories, and of the toy LLaMA on recitals as well."""

import logging
import random
import statistics
import time
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, T5ForConditionalGeneration

from apt_core.data import toy_words
from apt_core.data.toy_recitals import recitals
from apt_core.data.toy_stories import stories
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

BATCH_SIZE, LEARNING_RATE = 16, 1.5e-3
STEPS = {"t5": 2600, "llama": 2200}
NUM_TEXTS = 60_000
RECITED = {"t5": 0.0, "llama": 0.3}
"""Fraction of the texts that are recitals."""
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
        cut = rng.randrange(1, len(tail) - 1)
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


def texts_of(name: str, seed: int, encoder: Encoder) -> Rows:
    """What a model is pretrained on: stories first, then recitals."""
    num_recitals = round(RECITED[name] * NUM_TEXTS)
    texts = [*stories(NUM_TEXTS - num_recitals, seed), *recitals(num_recitals, seed)]
    return [(encoder.ids(text.body), encoder.ids(text.tail)) for text in texts]


def recited(encoder: Encoder, num: int = 200) -> Rows:
    """Unseen recitals, cut off inside a sentence that is said again, with their next word."""
    found: Rows = []
    for text in recitals(10 * num, seed=-1):
        ids = encoder.ids(text.tail[:1])
        if text.tail[0].startswith("sentence : "):
            cut = 2 + (len(ids) - 2) // 2
            found.append((encoder.ids(text.body) + ids[:cut], ids[cut : cut + 1]))
    return found[:num]


def probes(encoder: Encoder, num: int = 200) -> tuple[Rows, Rows]:
    """Unseen texts with their next word: verdicts, and the days of facts that are told again."""
    verdicts: Rows = []
    days: Rows = []
    for story in stories(10 * num, seed=-1):
        body = encoder.ids(story.body)
        for text in story.tail:
            ids = encoder.ids((text,))
            if text.startswith("in short a "):
                verdicts.append((body + ids[:-2], ids[-2:-1]))
            elif len(story.body) > 2 and text in story.body and " on " in text:
                days.append((body + ids[:-2], ids[-2:-1]))
    return verdicts[:num], days[:num]


@torch.no_grad()
def next_words(model: PreTrainedModel, texts: list[list[int]]) -> Tensor:
    """Probabilities of the next word of every text."""
    if isinstance(model, T5ForConditionalGeneration):
        ids = padded([[*text, EOS] for text in texts])
        first = torch.full((len(texts), 1), PAD)
        mask = (ids != PAD).long()
        logits = model(input_ids=ids, attention_mask=mask, decoder_input_ids=first).logits[:, 0]
    else:
        ids = padded([[BOS, *text] for text in texts])
        ends = torch.tensor([len(text) for text in texts])
        logits = model(input_ids=ids).logits[torch.arange(len(texts)), ends]
    probabilities: Tensor = logits.softmax(-1)
    return probabilities


def looked_up(model: PreTrainedModel, rows: Rows) -> float:
    """Fraction of the texts whose most likely next word is the right one."""
    wanted = torch.tensor([word for _, (word,) in rows])
    hits = next_words(model, [text for text, _ in rows]).argmax(-1) == wanted
    return float(hits.float().mean())


def probe(model: PreTrainedModel, encoder: Encoder) -> tuple[float, float, float]:
    """Fractions of unseen verdicts on the right side, of days looked up, of words recited."""
    model.eval()
    verdicts, days = probes(encoder)
    good, bad = (
        torch.tensor([encoder.vocab[word] for word in group])
        for group in (toy_words.POSITIVE_VERDICTS, toy_words.NEGATIVE_VERDICTS)
    )
    scores = next_words(model, [text for text, _ in verdicts])
    guessed = scores[:, good].sum(1) > scores[:, bad].sum(1)
    right = guessed == torch.isin(torch.tensor([word for _, (word,) in verdicts]), good)
    rates = float(right.float().mean()), looked_up(model, days), looked_up(model, recited(encoder))
    model.train()
    return rates


def parameter_groups(model: PreTrainedModel) -> list[dict[str, Any]]:
    """Parameters with the learning rate that suits the scale they begin with or have to reach.

    T5's word vectors have standard deviation 1, ten times that of its matrices. Its position
    biases begin near zero and must become several units large before a head can look at a
    neighbour; at the rate of the matrices that alone would take thousands of steps.
    """
    rates: dict[float, list[nn.Parameter]] = {}
    is_t5 = isinstance(model, T5ForConditionalGeneration)
    for name, parameter in model.named_parameters():
        factor = 30.0 if "relative_attention_bias" in name else 1.0
        factor = 4.0 if is_t5 and name == "shared.weight" else factor
        rates.setdefault(factor * LEARNING_RATE, []).append(parameter)
    return [{"params": parameters, "lr": rate} for rate, parameters in rates.items()]


def pretrain(name: str, seed: int, steps: int | None = None) -> PreTrainedModel:
    """Pretrain a toy T5 or LLaMA from random weights and co-occurrence word vectors."""
    torch.manual_seed(seed)
    rng, encoder = random.Random(seed), Encoder(name)
    rows = texts_of(name, seed, encoder)
    model = build_model(name, len(encoder.tokenizer)).train()
    start_embeddings(model, rows)
    total = steps or STEPS[name]
    groups = parameter_groups(model)
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01, betas=(0.9, 0.98))
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
        if step % 200 == 0 or step == total:
            mean, seconds = statistics.fmean(losses[-200:]), time.process_time() - start
            log.info(
                "step %5d  loss %.4f  verdicts %.3f  days %.3f  recited %.3f  %.0f s",
                step, mean, *probe(model, encoder), seconds,
            )  # fmt: skip
    return model


def start_embeddings(model: PreTrainedModel, rows: Rows) -> None:
    """Word vectors from co-occurrence and noise, at the scale that the network begins with.

    Without the noise, words that stand in the same places (names, days) would hardly differ, and
    what hardly differs is hard to copy.
    """
    embeddings = model.get_input_embeddings().weight
    texts = [[BOS, *body, *tail, EOS] for body, tail in rows[:20_000]]
    vectors = cooccurrence_embeddings(texts, *embeddings.shape)
    start = embeddings.data + vectors * embeddings.data.std()
    embeddings.data = start * embeddings.data.std() / start.std()

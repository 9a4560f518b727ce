"""What the toy RoBERTa's pretraining is worth on sentence pairs and on questions."""

import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaForQuestionAnswering,
    RobertaForSequenceClassification,
)

from apt_core.data.toy import toy_rows
from scripts.toy_model import (
    build_config,
    build_tokenizer,
    length_buckets,
    linear_schedule,
    padded,
)

STEPS, BATCH_SIZE, LEARNING_RATE, EVAL_ROWS = 400, 32, 3e-4, 1000
Row = dict[str, Any]
log = logging.getLogger("compare_encoder")


class Examples(NamedTuple):
    """Token ids and, by row, the class or the first and last token of the answer."""

    ids: list[list[int]]
    targets: Tensor


def pair_examples(rows: list[Row], tokenizer: PreTrainedTokenizerFast) -> Examples:
    """Premise and hypothesis in one text, and the class."""
    texts = [[row["premise"] for row in rows], [row["hypothesis"] for row in rows]]
    return Examples(tokenizer(*texts)["input_ids"], torch.tensor([row["label"] for row in rows]))


def qa_examples(rows: list[Row], tokenizer: PreTrainedTokenizerFast) -> Examples:
    """Question and context in one text, and the tokens of the answer; <s> where there is none."""
    texts = [[row["question"] for row in rows], [row["context"] for row in rows]]
    made = tokenizer(*texts)
    spans = []
    for index, row in enumerate(rows):
        answers = row["answers"]
        span = (0, 0)
        if answers["text"]:
            begin = answers["answer_start"][0]
            last = begin + len(answers["text"][0]) - 1
            span = (
                made.char_to_token(index, begin, sequence_index=1),
                made.char_to_token(index, last, sequence_index=1),
            )
        spans.append(span)
    return Examples(made["input_ids"], torch.tensor(spans))


def pair_loss(model: PreTrainedModel, ids: list[list[int]], targets: Tensor) -> Tensor:
    """Cross entropy of the class."""
    return nn.functional.cross_entropy(model(**padded(ids)).logits, targets)


def qa_loss(model: PreTrainedModel, ids: list[list[int]], targets: Tensor) -> Tensor:
    """Mean cross entropy of the first and the last token."""
    loss: Tensor = model(
        **padded(ids), start_positions=targets[:, 0], end_positions=targets[:, 1]
    ).loss
    return loss


def pair_hits(model: PreTrainedModel, ids: list[list[int]], targets: Tensor) -> int:
    """How many classes are right."""
    return int((model(**padded(ids)).logits.argmax(-1) == targets).sum())


def qa_hits(model: PreTrainedModel, ids: list[list[int]], targets: Tensor) -> int:
    """How many answers are right to the token."""
    batch = padded(ids)
    made = model(**batch)
    hidden = batch["attention_mask"] == 0
    first = made.start_logits.masked_fill(hidden, -1e9).argmax(-1)
    last = made.end_logits.masked_fill(hidden, -1e9).argmax(-1)
    return int(((first == targets[:, 0]) & (last == targets[:, 1])).sum())


class Setup(NamedTuple):
    """One task: how it is encoded, learned and scored."""

    network: type[PreTrainedModel]
    encode: Callable[[list[Row], PreTrainedTokenizerFast], Examples]
    loss: Callable[[PreTrainedModel, list[list[int]], Tensor], Tensor]
    hits: Callable[[PreTrainedModel, list[list[int]], Tensor], int]


SETUPS = {
    "pairs": Setup(RobertaForSequenceClassification, pair_examples, pair_loss, pair_hits),
    "qa": Setup(RobertaForQuestionAnswering, qa_examples, qa_loss, qa_hits),
}


def finetune(model: PreTrainedModel, setup: Setup, train: Examples, seed: int) -> None:
    """Train every weight."""
    batches = length_buckets(train.ids, BATCH_SIZE, random.Random(seed))
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    schedule = linear_schedule(optimizer, STEPS)
    model.train()
    for _ in range(STEPS):
        chosen = next(batches)
        setup.loss(model, [train.ids[index] for index in chosen], train.targets[chosen]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()


@torch.no_grad()
def score(model: PreTrainedModel, setup: Setup, held_out: Examples) -> float:
    """Fraction of right rows."""
    model.eval()
    hits = sum(
        setup.hits(model, held_out.ids[at : at + 100], held_out.targets[at : at + 100])
        for at in range(0, len(held_out.ids), 100)
    )
    return hits / len(held_out.ids)


def start(setup: Setup, folder: Path | None) -> PreTrainedModel:
    """The packaged weights with a new head, or random weights for None."""
    shape = build_config(len(build_tokenizer()))
    shape.num_labels = 3 if setup.network is RobertaForSequenceClassification else 2
    if folder is None:
        return setup.network(shape)
    return setup.network.from_pretrained(folder, dtype=torch.float32, num_labels=shape.num_labels)


def compare(folder: Path, tasks: list[str], seeds: tuple[int, ...]) -> None:
    """Fine-tune pretrained and random weights on each task and print a table."""
    tokenizer = build_tokenizer()
    log.info("| task | start | seeds | scores |\n|---|---|---|---|")
    for task in tasks:
        setup, rows = SETUPS[task], toy_rows(task)
        train = setup.encode(rows["train"], tokenizer)
        held_out = setup.encode(rows["validation"][:EVAL_ROWS], tokenizer)
        for label, source in (("pretrained", folder), ("random", None)):
            scores = []
            for seed in seeds:
                torch.manual_seed(seed)
                model = start(setup, source)
                finetune(model, setup, train, seed)
                scores.append(score(model, setup, held_out))
            shown = ", ".join(f"{value:.3f}" for value in scores)
            log.info("| %s | %s | %d | %s |", task, label, len(seeds), shown)

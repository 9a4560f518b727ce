"""What the pretraining of the toy T5 and the toy LLaMA is worth: text to text, greedy, exact match.

Plain PyTorch: the numbers say something about the weights, not about aptune's trainer.
"""

import logging
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    T5ForConditionalGeneration,
)

from apt_core.data.toy import TOY_TASKS, toy_rows
from scripts.toy_generative import EOS, IGNORE, PAD, Batch, build_model, padded
from scripts.toy_model import length_buckets, linear_schedule

BATCH_SIZE = 32
LEARNING_RATES = {"t5": 1e-3, "llama": 5e-4}
Row = dict[str, Any]
log = logging.getLogger("compare_generative")


class Setup(NamedTuple):
    """One task of the comparison."""

    prompt: Callable[[Row], str]
    target: Callable[[Row], str]
    steps: int = 300
    train_rows: int = 4000
    eval_rows: int = 500


def label_of(task: str) -> Callable[[Row], str]:
    """The class name of a row."""
    return lambda row: TOY_TASKS[task].labels[row["label"]]


SETUPS = {
    "sentiment": Setup(
        lambda row: f"sentence : {row['sentence']} sentiment :",
        label_of("sentiment"),
        train_rows=2000,
        eval_rows=1000,
    ),
    "pairs": Setup(
        lambda row: f"premise : {row['premise']} hypothesis : {row['hypothesis']} answer :",
        label_of("pairs"),
    ),
    "qa": Setup(
        lambda row: f"question : {row['question']} context : {row['context']} answer :",
        lambda row: (row["answers"]["text"] or ["unanswerable"])[0],
    ),
    "summary": Setup(
        lambda row: f"summarize : {row['document']} summary :", lambda row: str(row["summary"])
    ),
    "instruction": Setup(
        lambda row: f"instruction : {row['instruction']} input : {row['input']} response :",
        lambda row: str(row["output"]),
    ),
}
Pairs = list[tuple[list[int], list[int]]]


def encoded(rows: list[Row], setup: Setup, tokenizer: PreTrainedTokenizerFast) -> Pairs:
    """Prompt ids as the tokenizer makes them, target ids closed by </s>."""
    return [
        (
            tokenizer(setup.prompt(row))["input_ids"],
            [*tokenizer(setup.target(row), add_special_tokens=False)["input_ids"], EOS],
        )
        for row in rows
    ]


def batch_of(pairs: Pairs, *, seq2seq: bool) -> Batch:
    """Inputs, and labels that cover the targets only."""
    if seq2seq:
        ids = padded([prompt for prompt, _ in pairs])
        labels = padded([target for _, target in pairs], IGNORE)
    else:
        ids = padded([prompt + target for prompt, target in pairs])
        labels = padded([[IGNORE] * len(prompt) + target for prompt, target in pairs], IGNORE)
    mask = torch.zeros_like(ids)
    for row, pair in zip(mask, pairs, strict=True):
        row[: len(pair[0]) + (0 if seq2seq else len(pair[1]))] = 1
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def finetune(model: PreTrainedModel, pairs: Pairs, setup: Setup, seed: int) -> None:
    """Train every weight."""
    seq2seq = isinstance(model, T5ForConditionalGeneration)
    rate = LEARNING_RATES["t5" if seq2seq else "llama"]
    batches = length_buckets([p + t for p, t in pairs], BATCH_SIZE, random.Random(seed))
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    schedule = linear_schedule(optimizer, setup.steps)
    model.train()
    for _ in range(setup.steps):
        batch = batch_of([pairs[index] for index in next(batches)], seq2seq=seq2seq)
        model(**batch).loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()


@torch.no_grad()
def exact_match(model: PreTrainedModel, pairs: Pairs) -> float:
    """Fraction of prompts that greedy decoding answers word for word."""
    model.eval()
    seq2seq = isinstance(model, T5ForConditionalGeneration)
    ordered, hits = sorted(pairs, key=lambda pair: len(pair[0])), 0
    for at in range(0, len(ordered), 50):
        part = ordered[at : at + 50]
        width = max(len(prompt) for prompt, _ in part)
        lefts = [[PAD] * (width - len(prompt)) + prompt for prompt, _ in part]
        ids = padded([prompt for prompt, _ in part]) if seq2seq else torch.tensor(lefts)
        made = model.generate(
            input_ids=ids,
            attention_mask=(ids != PAD).long(),
            max_new_tokens=max(len(target) for _, target in part),
            do_sample=False,
        )
        made = made[:, 1 if seq2seq else width :]
        for row, (_, target) in zip(made.tolist(), part, strict=True):
            hits += row[: len(target)] == target
    return hits / len(pairs)


def start(name: str, folder: Path | None) -> PreTrainedModel:
    """The packaged weights, or random ones for None."""
    if folder is None:
        return build_model(name, len(AutoTokenizer.from_pretrained(packaged(name))))
    auto = AutoModelForSeq2SeqLM if name == "t5" else AutoModelForCausalLM
    model: PreTrainedModel = auto.from_pretrained(folder)
    if name == "t5":
        model.config.dropout_rate = 0.0
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
    return model


def packaged(name: str) -> Path:
    """Where the packaged files are."""
    return Path(__file__).parents[1] / "apt_core" / "data" / "assets" / f"toy-{name}"


def compare(name: str, folder: Path, tasks: list[str], seeds: tuple[int, ...]) -> None:
    """Fine-tune pretrained and random weights on each task and print a table."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    log.info(
        "| task | start | seeds | mean | lowest | highest | s |\n|---|---|---|---|---|---|---|"
    )
    for task in tasks:
        setup, rows = SETUPS[task], toy_rows(task)
        train = encoded(rows["train"][: setup.train_rows], setup, tokenizer)
        held_out = encoded(rows["validation"][: setup.eval_rows], setup, tokenizer)
        for label, source in (("pretrained", folder), ("random", None)):
            began, scores = time.process_time(), []
            for seed in seeds:
                torch.manual_seed(seed)
                model = start(name, source)
                finetune(model, train, setup, seed)
                scores.append(exact_match(model, held_out))
            mean, seconds = statistics.fmean(scores), time.process_time() - began
            log.info(
                "| %s | %s | %d | %.3f | %.3f | %.3f | %.0f |",
                task, label, len(seeds), mean, min(scores), max(scores), seconds,
            )  # fmt: skip

"""DatasetLoader with every head: weights, references, windows, holdout, workers."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from apt_core.data.loader import DatasetLoader
from tests.tiny_tasks import COLUMNS, loader_of, row, tokenizer, write_split, write_task

CASES = [
    ("classification", "bert", "sequence_classification"),
    ("regression", "roberta", "sequence_classification"),
    ("qa", "bert", "question_answering"),
    ("qa", "roberta", "question_answering"),
    *((kind, "t5", "seq2seq_lm") for kind in ("classification", "qa", "summarization")),
    *((kind, "llama", "causal_lm") for kind in ("regression", "qa", "instruction")),
]
WINDOWS = {"max_length": 14}


def load(folder: Path, case: tuple[str, str, str], **changes: Any) -> DatasetLoader:
    kind, family, head = case
    if not (folder / "d").exists():
        write_task(folder / "d", kind)
    task = replace(write_task(folder / "d", kind), **changes.pop("task", {}))
    lengths = WINDOWS if head == "question_answering" else {}
    return loader_of(task, tokenizer(family), folder, **{"head": head, **lengths, **changes})


def ids_of(batch: dict[str, Tensor]) -> list[tuple[int, ...]]:
    """What every row of a batch reads, without padding: tells rows apart."""
    rows = zip(batch["input_ids"], batch["attention_mask"], strict=True)
    return [tuple(ids[mask == 1].tolist()) for ids, mask in rows]


def steps_of(batches: Iterator[list[dict[str, Tensor]]], count: int) -> list[list[Any]]:
    return [sorted(i for m in step for i in ids_of(m)) for step in islice(batches, count)]


@pytest.mark.parametrize("case", CASES)
def test_batches_have_what_their_head_reads(tmp_path: Path, case: tuple[str, str, str]) -> None:
    loaded = load(tmp_path, case)
    _, family, head = case
    names = {"input_ids", "attention_mask"} | ({"token_type_ids"} if family == "bert" else set())
    names |= {"start_positions", "end_positions"} if head == "question_answering" else {"labels"}
    (train,) = next(loaded.train_batches())
    assert set(train) == names | {"loss_weight"}
    assert (train["loss_weight"].shape, train["loss_weight"].dtype) == ((), torch.float32)
    evaluated, _ = next(loaded.eval_batches())
    assert set(evaluated) == names | {"row"}
    assert evaluated["row"].dtype == torch.int64
    assert set(loaded.calibration_batches(4, 2)[0]) == names
    assert set(loaded.sample_batches(4)[0]) == names
    if head == "causal_lm":
        assert train["labels"].shape == train["input_ids"].shape
        targets = train["labels"] != -100
        assert (train["labels"][targets] == train["input_ids"][targets]).all()
        # Right-padded: the prompt, the target, the padding.
        assert (train["attention_mask"].diff() <= 0).all()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("world_size", [1, 2, 4])
@pytest.mark.parametrize("micro_batch_size", [None, 1])
def test_weighted_means_of_micro_batches_are_the_mean_over_label_tokens(
    tmp_path: Path, case: tuple[str, str, str], world_size: int, micro_batch_size: int | None
) -> None:
    is_lm = case[2].endswith("_lm")
    loaders = [
        load(tmp_path, case, rank=rank, world_size=world_size, micro_batch_size=micro_batch_size)
        for rank in range(world_size)
    ]
    for shares in islice(zip(*(one.train_batches() for one in loaders), strict=True), 6):
        micro_batches = [batch for share in shares for batch in share]
        weights = torch.stack([batch["loss_weight"] for batch in micro_batches]).double()
        if not is_lm:
            assert weights.tolist() == [1.0] * len(micro_batches)
            continue
        # The loss of a token is its id: any function of it will do.
        tokens = [batch["labels"][batch["labels"] != -100].double() for batch in micro_batches]
        means = torch.stack([batch.mean() for batch in tokens])
        torch.testing.assert_close((means * weights).mean(), torch.cat(tokens).mean())


@pytest.mark.parametrize("case", CASES)
def test_workers_share_the_batch_of_one(tmp_path: Path, case: tuple[str, str, str]) -> None:
    whole = steps_of(load(tmp_path, case, batch_size=8).train_batches(), 5)
    shares = [
        steps_of(load(tmp_path, case, batch_size=8, rank=rank, world_size=2).train_batches(), 5)
        for rank in (0, 1)
    ]
    assert [sorted(a + b) for a, b in zip(*shares, strict=True)] == whole


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("bucket_batches", [1, 2, 50])
def test_starting_at_a_step_equals_skipping_to_it(
    tmp_path: Path, case: tuple[str, str, str], bucket_batches: int
) -> None:
    loaded = load(tmp_path, case, bucket_batches=bucket_batches)
    whole = steps_of(loaded.train_batches(), 14)
    for start in (0, 1, 5, 6, 11):
        assert steps_of(loaded.train_batches(start), 14 - start) == whole[start:]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("split", ["validation", "holdout"])
def test_every_evaluation_item_appears_once_over_the_workers(
    tmp_path: Path, case: tuple[str, str, str], world_size: int, split: str
) -> None:
    seen: list[int] = []
    counts = set()
    for rank in range(world_size):
        loaded = load(
            tmp_path, case, rank=rank, world_size=world_size, batch_size=world_size, holdout_rows=5
        )
        batches = list(loaded.eval_batches(split))
        counts.add(len(batches))
        for batch, num_rows in batches:
            assert len(batch["row"]) == len(batch["input_ids"]) >= max(1, num_rows)
            seen += batch["row"][:num_rows].tolist()
    references = loaded.references(split)
    assert len(references.targets) == (7 if split == "validation" else 5)
    num_items = len(references.windows.rows if references.windows else references.targets)
    assert sorted(seen) == list(range(num_items))
    assert len(counts) == 1


@pytest.mark.parametrize("case", CASES)
def test_a_batchs_rows_are_the_references_rows(tmp_path: Path, case: tuple[str, str, str]) -> None:
    kind, family, head = case
    loaded, tokens = load(tmp_path, case, holdout_rows=5), tokenizer(family)
    for split in loaded.eval_splits:
        references = loaded.references(split)
        for batch, num_rows in loaded.eval_batches(split):
            for place, ids in list(zip(batch["row"].tolist(), ids_of(batch), strict=True))[
                :num_rows
            ]:
                if references.windows is not None:
                    spans = references.windows.spans[place]
                    context = references.contexts[references.windows.rows[place]]
                    read = [(i, s) for i, s in zip(ids, spans, strict=True) if s[0] >= 0]
                    shown = tokens.convert_ids_to_tokens([i for i, _ in read])
                    assert shown == [context[a:b] for _, (a, b) in read]
                elif head == "sequence_classification":
                    found = batch["labels"][batch["row"].tolist().index(place)]
                    assert float(found) == pytest.approx(references.targets[place])
                else:
                    labels = batch["labels"][batch["row"].tolist().index(place)]
                    words = tokens.decode(labels[labels != -100], skip_special_tokens=True)
                    target = references.targets[place]
                    wanted = {"classification": ("no", "yes"), "qa": target}.get(kind, target)
                    if kind == "classification":
                        wanted = wanted[target]
                    if kind == "qa":
                        wanted = target[0] if target else "unanswerable"
                    assert words.split() == str(wanted).split()


@pytest.mark.parametrize("case", CASES)
def test_held_out_rows_are_not_trained_on(tmp_path: Path, case: tuple[str, str, str]) -> None:
    loaded = load(tmp_path, case, holdout_rows=6, batch_size=1)
    held_out = {ids for batch, _ in loaded.eval_batches("holdout") for ids in ids_of(batch)}
    trained = {i for s in steps_of(loaded.train_batches(), loaded.steps_per_epoch) for i in s}
    calibrated = {ids for batch in loaded.calibration_batches(1, 99) for ids in ids_of(batch)}
    assert held_out
    assert not held_out & trained
    assert calibrated == trained


def test_an_epoch_of_windows_counts_windows(tmp_path: Path) -> None:
    loaded = load(tmp_path, ("qa", "bert", "question_answering"))
    assert loaded.num_train_rows > 22
    assert loaded.steps_per_epoch == loaded.num_train_rows // 4
    assert loaded.num_eval_rows == 7
    few = load(tmp_path, ("qa", "bert", "question_answering"), train_rows=4)
    assert few.num_train_rows < loaded.num_train_rows / 3


def test_rows_with_misplaced_answers_are_evaluated_but_not_trained_on(tmp_path: Path) -> None:
    case = ("qa", "bert", "question_answering")
    num_windows = load(tmp_path, case).num_train_rows
    task = write_task(tmp_path / "d", "qa")
    wrong = {"text": ["nowhere"], "answer_start": [0]}
    rows = [{**row("qa", i), **({"answers": wrong} if i == 7 else {})} for i in range(22)]
    write_split(tmp_path / "d", "train", rows)
    lost = loader_of(
        replace(task, eval_split="train"), tokenizer("bert"), tmp_path, head=case[2], **WINDOWS
    )
    assert lost.num_train_rows < num_windows
    assert len(lost.references().windows.rows) == num_windows
    assert lost.references().targets[7] == ("nowhere",)


def test_further_splits_have_batches_and_references_of_their_own(tmp_path: Path) -> None:
    write_task(tmp_path / "d", "classification")
    write_split(tmp_path / "d", "mismatched", [row("classification", n) for n in range(40, 43)])
    case = ("classification", "bert", "sequence_classification")
    loaded = load(tmp_path, case, task={"more_eval_splits": ("mismatched",)})
    assert loaded.eval_splits == ("validation", "mismatched")
    assert loaded.references("mismatched").targets == (0, 1, 0)
    assert sum(count for _, count in loaded.eval_batches("mismatched")) == 3
    assert sum(count for _, count in loaded.eval_batches()) == 7


def test_the_mean_target_length_is_that_of_the_evaluated_rows(tmp_path: Path) -> None:
    loaded = load(tmp_path, ("summarization", "t5", "seq2seq_lm"))
    # Rows 30 to 36 have summaries of 1 + n % 4 words, and an end.
    lengths = [1 + n % 4 + 1 for n in range(30, 37)]
    assert loaded.mean_eval_target_length == pytest.approx(sum(lengths) / 7)
    encoder = load(tmp_path / "e", ("regression", "bert", "sequence_classification"))
    assert encoder.mean_eval_target_length == 0.0


def test_calibration_does_not_depend_on_seed_or_worker(tmp_path: Path) -> None:
    case = ("qa", "bert", "question_answering")
    loaders = [load(tmp_path, case), load(tmp_path, case, seed=2, rank=1, world_size=2)]
    found = [[ids_of(b) for b in one.calibration_batches(3, 4)] for one in loaders]
    assert found[0] == found[1]
    assert [len(batch) for batch in found[0]] == [3] * 4
    (short,) = loaders[0].calibration_batches(1000, 4)
    assert len(short["input_ids"]) == loaders[0].num_train_rows


def test_sorting_saves_padding(tmp_path: Path) -> None:
    def padding(bucket_batches: int) -> float:
        loaded = load(tmp_path, CASES[4], bucket_batches=bucket_batches)
        steps = islice(loaded.train_batches(), 20)
        return sum(float((batch["attention_mask"] == 0).sum()) for (batch,) in steps)

    assert padding(50) < padding(1) / 2


def test_a_tokenizer_that_cannot_pad_still_batches(tmp_path: Path) -> None:
    loaded = load(tmp_path, ("instruction", "gpt2", "causal_lm"))
    (batch,) = next(loaded.train_batches())
    end = tokenizer("gpt2").eos_token_id
    assert (batch["input_ids"][batch["attention_mask"] == 0] == end).all()
    last = [labels[labels != -100][-1].item() for labels in batch["labels"]]
    assert last == [end] * 4


def test_the_columns_of_the_tiny_tasks_are_those_of_their_kinds() -> None:
    assert all(set(columns) <= set(row(kind, 1)) for kind, columns in COLUMNS.items())

"""DatasetLoader: every batch is a function of (seed, step), whatever the number of workers."""

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from apt_core.data.embedded import embedded_model_path
from apt_core.data.loader import DatasetLoader
from apt_core.data.tasks import TaskSpec
from apt_core.errors import ConfigError, DataError

SENTENCES = [f"the soup was {word} ." for word in ("fresh", "very fresh", "not fresh")]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(embedded_model_path("toy-roberta"))


@pytest.fixture
def task(tmp_path: Path) -> TaskSpec:
    """22 training and 7 evaluation rows; the label of a row is its number."""
    folder = tmp_path / "data"
    folder.mkdir()
    for split, count in (("train", 22), ("validation", 7)):
        sentences = [SENTENCES[index % 3] for index in range(count)]
        pq.write_table(
            pa.table({"sentence": sentences, "label": list(range(count))}),
            folder / f"{split}.parquet",
        )
    labels = tuple(f"class{index}" for index in range(22))
    return TaskSpec("numbered", str(folder), ("sentence",), labels)


def loader(
    task: TaskSpec, tokenizer: PreTrainedTokenizerBase, tmp_path: Path, **changes: Any
) -> DatasetLoader:
    arguments: dict[str, Any] = {
        "max_length": 64,
        "seed": 1,
        "batch_size": 4,
        "eval_batch_size": 3,
        "cache_dir": tmp_path / "cache",
    }
    return DatasetLoader(task, tokenizer, **{**arguments, **changes})


def labels_of(batches: Iterator[list[dict[str, Tensor]]], count: int) -> list[list[int]]:
    """Labels of the next steps, micro-batches joined."""
    return [[n for m in step for n in m["labels"].tolist()] for step in islice(batches, count)]


def test_a_batch_holds_padded_ids_a_mask_and_labels(task, tokenizer, tmp_path) -> None:
    batches = loader(task, tokenizer, tmp_path, train_rows=3, batch_size=3).train_batches(0)
    (batch,) = next(batches)
    assert set(batch) == {"input_ids", "attention_mask", "labels", "loss_weight"}
    for row, label in enumerate(batch["labels"].tolist()):
        ids = tokenizer(SENTENCES[label % 3])["input_ids"]
        padding = batch["input_ids"].shape[1] - len(ids)
        assert batch["input_ids"][row].tolist() == ids + [tokenizer.pad_token_id] * padding
        assert batch["attention_mask"][row].tolist() == [1] * len(ids) + [0] * padding


def test_the_width_is_that_of_the_longest_row_or_a_multiple(task, tokenizer, tmp_path) -> None:
    longest = len(tokenizer(SENTENCES[1])["input_ids"])
    (batch,) = next(loader(task, tokenizer, tmp_path, batch_size=20).train_batches())
    assert batch["input_ids"].shape == (20, longest)
    rounded = loader(task, tokenizer, tmp_path, batch_size=20, pad_to_multiple_of=16)
    assert next(rounded.train_batches())[0]["input_ids"].shape == (20, 16)


@pytest.mark.parametrize(("head", "widest"), [("sequence_classification", 7), ("causal_lm", 7 + 4)])
def test_a_width_is_not_rounded_up_to_where_a_model_may_have_no_positions(
    task, tokenizer, tmp_path, head, widest
) -> None:
    settings = {"max_length": 7, "max_target_length": 4, "head": head, "pad_to_multiple_of": 16}
    (batch,) = next(loader(task, tokenizer, tmp_path, **settings).train_batches())
    assert batch["input_ids"].shape[1] == widest


def test_long_rows_are_cut(task, tokenizer, tmp_path) -> None:
    (batch,) = next(loader(task, tokenizer, tmp_path, max_length=4).train_batches())
    assert batch["input_ids"].shape == (4, 4)


def test_a_tokenizer_that_pads_left_gets_rows_at_the_right(task, tmp_path) -> None:
    left = AutoTokenizer.from_pretrained(embedded_model_path("toy-roberta"), padding_side="left")
    (batch,) = next(loader(task, left, tmp_path, batch_size=20).train_batches())
    assert batch["attention_mask"][:, -1].all()
    assert not batch["attention_mask"][:, 0].all()


def test_an_epoch_visits_rows_once_and_drops_the_rest(task, tokenizer, tmp_path) -> None:
    loaded = loader(task, tokenizer, tmp_path)
    assert (loaded.num_train_rows, loaded.steps_per_epoch) == (22, 5)
    steps = labels_of(loaded.train_batches(), 10)
    first, second = list(chain(*steps[:5])), list(chain(*steps[5:]))
    assert len(set(first)) == len(set(second)) == 20
    assert first != second


def test_the_order_depends_on_the_seed_alone(task, tokenizer, tmp_path) -> None:
    one = labels_of(loader(task, tokenizer, tmp_path).train_batches(), 6)
    assert labels_of(loader(task, tokenizer, tmp_path).train_batches(), 6) == one
    assert labels_of(loader(task, tokenizer, tmp_path, seed=2).train_batches(), 6) != one


@pytest.mark.parametrize("start", [0, 3, 5, 12])
def test_starting_at_a_step_equals_skipping_to_it(task, tokenizer, tmp_path, start: int) -> None:
    loaded = loader(task, tokenizer, tmp_path)
    skipped = labels_of(islice(loaded.train_batches(0), start, None), 7)
    assert labels_of(loaded.train_batches(start), 7) == skipped


def test_two_workers_share_the_batch_of_one(task, tokenizer, tmp_path) -> None:
    whole = labels_of(loader(task, tokenizer, tmp_path).train_batches(), 7)
    shares = [
        labels_of(loader(task, tokenizer, tmp_path, rank=r, world_size=2).train_batches(), 7)
        for r in (0, 1)
    ]
    assert [left + right for left, right in zip(*shares, strict=True)] == whole


def test_micro_batches_hold_the_same_rows_sorted_by_length(task, tokenizer, tmp_path) -> None:
    whole = labels_of(loader(task, tokenizer, tmp_path).train_batches(), 3)
    cut = loader(task, tokenizer, tmp_path, micro_batch_size=1)
    steps = list(islice(cut.train_batches(), 3))
    widths = [[batch["input_ids"].shape[1] for batch in step] for step in steps]
    assert [len(step) for step in steps] == [4, 4, 4]
    assert widths == [sorted(step) for step in widths]
    rows = [sorted(step) for step in labels_of(iter(steps), 3)]
    assert rows == [sorted(step) for step in whole]


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
def test_evaluation_covers_every_row_once_in_equally_many_batches(
    task, tokenizer, tmp_path, world_size: int
) -> None:
    seen, counts = [], []
    for rank in range(world_size):
        batches = list(
            loader(
                task, tokenizer, tmp_path, rank=rank, world_size=world_size, batch_size=world_size,
                eval_batch_size=2,
            ).eval_batches()
        )  # fmt: skip
        counts.append(len(batches))
        for batch, num_rows in batches:
            assert len(batch["labels"]) >= max(1, num_rows)
            seen += batch["labels"][:num_rows].tolist()
    assert sorted(seen) == list(range(7))
    assert len(set(counts)) == 1


def test_row_limits_hold_and_the_subset_does_not_depend_on_the_seed(
    task, tokenizer, tmp_path
) -> None:
    chosen = []
    for seed in (1, 2):
        loaded = loader(task, tokenizer, tmp_path, train_rows=8, eval_rows=5, seed=seed)
        assert (loaded.num_train_rows, loaded.num_eval_rows, loaded.steps_per_epoch) == (8, 5, 2)
        chosen.append(set(chain(*labels_of(loaded.train_batches(), 2))))
        assert sum(count for _, count in loaded.eval_batches()) == 5
    assert chosen[0] == chosen[1] != set(range(8))


def test_the_mean_length_is_that_of_the_evaluated_rows(task, tokenizer, tmp_path) -> None:
    lengths = [len(tokenizer(SENTENCES[index % 3])["input_ids"]) for index in range(5)]
    loaded = loader(task, tokenizer, tmp_path, eval_rows=5)
    assert loaded.mean_eval_length == pytest.approx(sum(lengths) / 5)


def test_a_batch_that_does_not_divide_is_refused(task, tokenizer, tmp_path) -> None:
    message = (
        r"training.batch_size: is not a multiple of 3 workers x 1 rows per micro-batch \(got 4\); "
        r"set it to a multiple of 3$"
    )
    with pytest.raises(ConfigError, match=message):
        loader(task, tokenizer, tmp_path, world_size=3)


def test_a_batch_larger_than_the_dataset_is_refused(task, tokenizer, tmp_path) -> None:
    message = (
        r"training.batch_size: one batch needs more rows than dataset numbered trains on "
        r"\(got 32, rows: 22\); lower it, or raise data.train_rows$"
    )
    with pytest.raises(ConfigError, match=message):
        loader(task, tokenizer, tmp_path, batch_size=32)


def test_a_bad_dataset_is_refused_before_anything_is_cached(task, tokenizer, tmp_path) -> None:
    table = pa.table({"sentence": ["the soup was fresh ."] * 4, "label": [0, 1, 22, 0]})
    pq.write_table(table, Path(task.path) / "train.parquet")
    with pytest.raises(DataError, match="holds class 22 in row 2, but labels has 22 classes"):
        loader(task, tokenizer, tmp_path)
    assert list((tmp_path / "cache").rglob("*.npz")) == []


def test_the_embedded_dataset_loads(tokenizer, tmp_path) -> None:
    toy = TaskSpec("toy", "embedded:sentiment", ("sentence",), ("negative", "positive"))
    loaded = loader(toy, tokenizer, tmp_path, batch_size=32)
    (batch,) = next(loaded.train_batches())
    assert batch["input_ids"].dtype == torch.int64
    assert tokenizer.unk_token_id not in batch["input_ids"].unique().tolist()
    assert (loaded.num_train_rows, loaded.num_eval_rows) == (4000, 1000)


def test_real_sst2_loads(real_data: Path, tokenizer, tmp_path) -> None:
    sst2 = TaskSpec("sst2", str(real_data / "data" / "glue_sst2"), ("sentence",), ("no", "yes"))
    loaded = loader(sst2, tokenizer, tmp_path, batch_size=32, train_rows=8000)
    assert (loaded.num_train_rows, loaded.num_eval_rows) == (8000, 872)
    assert next(loaded.train_batches())[0]["input_ids"].shape[0] == 32


def test_micro_batches_hold_rows_of_like_length(task, tokenizer, tmp_path) -> None:
    step = next(loader(task, tokenizer, tmp_path, batch_size=6, micro_batch_size=2).train_batches())
    whole = next(loader(task, tokenizer, tmp_path, batch_size=6).train_batches())
    lengths = [batch["attention_mask"].sum(1).tolist() for batch in step]
    assert lengths == sorted(lengths)
    rows = sorted(label for batch in step for label in batch["labels"].tolist())
    assert rows == sorted(whole[0]["labels"].tolist())

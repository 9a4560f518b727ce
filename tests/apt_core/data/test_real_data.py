"""The data layer on real files: GLUE, SQuAD, summaries, instructions, and a folder of one's own."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer

from apt_core.config import DatasetSpec, load_config
from apt_core.config.builtin_datasets import BUILTIN_DATASETS
from apt_core.data.batch import IGNORED
from apt_core.data.loader import DatasetLoader
from apt_core.data.preflight import check_dataset
from apt_core.data.tasks import TaskSpec
from apt_core.trainer.build_parts import build_loader, load_task_model, load_task_tokenizer

pytestmark = pytest.mark.real_data

ENCODER = "all-MiniLM-L6-v2-fp16"
ROBERTA = "roberta-layout-gpt2bpe-tokenizer"
T5, LLAMA = "novels-t5-9m", "novels-llama-6m"
VOCABULARY = 8192
"""Of the two small models, as their configs say."""


def tokenizer(folder: Path, model: str) -> Any:
    return AutoTokenizer.from_pretrained(folder / "models" / model)


def task_of(path: Path, name: str, **changes: Any) -> TaskSpec:
    """A built-in dataset whose files lie in a folder."""
    entry = {**BUILTIN_DATASETS[name], "path": str(path), "subset": None, **changes}
    return TaskSpec.of(name, DatasetSpec.model_validate(entry))


def first_rows(folder: Path, copy: Path, rows: int = 1500) -> Path:
    """A copy of a dataset with the first rows of every split: the rest is more of the same."""
    copy.mkdir()
    for path in folder.glob("*.parquet"):
        pq.write_table(pq.read_table(path).slice(0, rows), copy / path.name)
    return copy


def load(task: TaskSpec, tokens: Any, cache: Path, **changes: Any) -> DatasetLoader:
    arguments: dict[str, Any] = {"seed": 1, "batch_size": 16, "eval_batch_size": 32, **changes}
    return DatasetLoader(task, tokens, cache_dir=cache, **{"max_length": 128, **arguments})


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("sst2", {}),
        ("mrpc", {"more_eval_splits": ["test"]}),
        ("rte", {}),
        ("qqp", {}),
        ("stsb", {"more_eval_splits": ["test"]}),
        ("mnli", {"train_split": "validation_mismatched"}),
    ],
)
def test_glue_loads_with_its_labels(
    real_data: Path, tmp_path: Path, name: str, changes: dict[str, Any]
) -> None:
    folder = first_rows(real_data / "data" / f"glue_{name}", tmp_path / name)
    task = task_of(folder, name, **changes)
    loaded = load(task, tokenizer(real_data, ENCODER), tmp_path, train_rows=500, eval_rows=300)
    facts = check_dataset(task)
    assert loaded.num_eval_rows == min(300, facts.num_eval_rows or 0)
    for split in task.eval_splits:
        targets = loaded.references(split).targets
        labels: dict[int, float] = {}
        for batch, num_rows in loaded.eval_batches(split):
            rows = zip(batch["row"].tolist(), batch["labels"].tolist(), strict=True)
            labels.update(list(rows)[:num_rows])
        assert [labels[row] for row in range(len(targets))] == pytest.approx(list(targets))


@pytest.mark.slow
@pytest.mark.parametrize("model", [ENCODER, ROBERTA])
def test_spans_of_squad_give_back_the_answers(real_data: Path, tmp_path: Path, model: str) -> None:
    task = task_of(real_data / "data" / "squad_v2_devsplit", "squad_v2")
    assert check_dataset(task).num_misplaced == 0
    loaded = load(
        task, tokenizer(real_data, model), tmp_path, head="question_answering", max_length=384
    )
    references = loaded.references()
    assert references.windows is not None
    found: dict[int, set[str]] = {}
    for batch, num_rows in loaded.eval_batches():
        for at in range(num_rows):
            window = int(batch["row"][at])
            first, last = int(batch["start_positions"][at]), int(batch["end_positions"][at])
            row, spans = references.windows.rows[window], references.windows.spans[window]
            if first:
                context = references.contexts[row]
                found.setdefault(row, set()).add(context[spans[first][0] : spans[last][1]])
    answerable = {row for row, answers in enumerate(references.targets) if answers}
    assert set(found) == answerable
    assert len(answerable) > 2900
    rough = {row for row in answerable if found[row] != {references.targets[row][0]}}
    # An answer may be part of a token ("Japan" of "Japanese"; GPT-2 has tokens like ")." too).
    assert len(rough) <= {ENCODER: 2, ROBERTA: 25}[model]
    for row in rough:
        (text,) = found[row]
        answer = references.targets[row][0]
        assert answer in text
        assert not set(text.replace(answer, "", 1)) & set(" \n")


@pytest.mark.parametrize(("model", "head"), [(T5, "seq2seq_lm"), (LLAMA, "causal_lm")])
@pytest.mark.parametrize(
    ("name", "folder", "changes", "limits"),
    [
        ("cnn_dm", "cnn_dailymail", {"train_split": "train_sample"}, {"max_length": 200}),
        ("alpaca", "alpaca", {}, {"holdout_rows": 300, "max_length": 200}),
        ("squad_v2", "squad_v2_devsplit", {"train_split": "validation"}, {"max_length": 100}),
        ("stsb", "glue_stsb", {}, {}),
        ("rte", "glue_rte", {"label_words": ["yes", "no"]}, {}),
    ],
)
def test_generative_models_read_prompts_and_write_targets(
    real_data: Path, tmp_path: Path, model: str, head: str, name: str, folder: str,
    changes: dict[str, Any], limits: dict[str, int],
) -> None:  # fmt: skip
    rows = first_rows(real_data / "data" / folder, tmp_path / folder, 400)
    task, tokens = task_of(rows, name, **changes), tokenizer(real_data, model)
    given = {"eval_rows": 64, "max_target_length": 60, "vocab_size": VOCABULARY, **limits}
    loaded = load(task, tokens, tmp_path, head=head, **given)
    length = limits.get("max_length", 128) + (60 if head == "causal_lm" else 0)
    assert loaded.mean_eval_target_length > 1
    targets = loaded.references().targets
    for batch, num_rows in loaded.eval_batches():
        assert batch["input_ids"].shape[1] <= length
        for at in range(num_rows):
            target = targets[int(batch["row"][at])]
            labels = batch["labels"][at][batch["labels"][at] != IGNORED]
            assert len(labels) <= 60
            assert labels[-1] == tokens.eos_token_id
            words = {"stsb": f"{target:.1f}"} if name == "stsb" else {
                "rte": ("yes", "no")[target] if name == "rte" else "",
                "squad_v2": (*target, "unanswerable")[0] if name == "squad_v2" else "",
            }  # fmt: skip
            expected = words.get(name, target)
            ids = tokens(expected, add_special_tokens=False)["input_ids"]
            assert labels[:-1].tolist() == ids[:59]


def test_alpaca_is_evaluated_on_rows_that_it_is_not_trained_on(
    real_data: Path, tmp_path: Path
) -> None:
    folder = first_rows(real_data / "data" / "alpaca", tmp_path / "alpaca")
    task, tokens = task_of(folder, "alpaca"), tokenizer(real_data, LLAMA)
    loaded = load(task, tokens, tmp_path, head="causal_lm", holdout_rows=200, max_length=256)
    assert loaded.eval_splits == ("holdout",)
    assert (loaded.num_train_rows, loaded.num_eval_rows) == (1300, 200)


def test_reviews_become_a_dataset_with_ten_lines_of_yaml(real_data: Path, tmp_path: Path) -> None:
    table = pq.read_table(real_data / "data" / "text_movie_reviews" / "train.parquet")
    reviews = table["text"].to_pylist()[:400]
    (tmp_path / "reviews").mkdir()
    for split, part in (("train", reviews[:300]), ("validation", reviews[300:])):
        with (tmp_path / "reviews" / f"{split}.csv").open(
            "w", newline="", encoding="utf-8"
        ) as file:
            rows = csv.writer(file)
            rows.writerow(["review", "length"])
            rows.writerows([text, "long" if len(text) > 3500 else "short"] for text in part)
    recipe = tmp_path / "reviews.yaml"
    recipe.write_text(
        "data:\n"
        "  dataset: reviews\n"
        f"  cache_dir: {tmp_path / 'cache'}\n"
        "  datasets:\n"
        "    reviews:\n"
        f"      path: {tmp_path / 'reviews'}\n"
        "      text_columns: [review]\n"
        "      label_column: length\n"
        "      labels: [short, long]\n"
        "hardware: {engine: torch}\n"
    )
    model = f"model.architectures.mine={real_data / 'models' / ENCODER}"
    config = load_config([recipe], ["model.model_type=mine", model])
    facts = check_dataset(config.data.spec, "reviews")
    assert (facts.num_train_rows, facts.num_eval_rows) == (300, 100)
    loaded = build_loader(config, load_task_tokenizer(config), load_task_model(config))
    expected = [int(len(text) > 3500) for text in reviews[300:]]
    assert list(loaded.references().targets) == expected
    (batch,) = next(loaded.train_batches())
    assert batch["input_ids"].shape == (32, 128)
    assert set(np.unique(batch["labels"])) <= {0, 1}

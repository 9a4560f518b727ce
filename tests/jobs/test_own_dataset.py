"""A dataset of one's own: CSV files, ten lines of YAML, and no line of code."""

import csv
import random
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from apt_core.data import toy_words as words
from apt_core.report import RunReport
from jobs.cli import app
from jobs.common import run_app

OPINIONS = {"return": words.WEAK_POSITIVE[:40], "avoid": words.WEAK_NEGATIVE[:40]}
SOURCES = {"other": "text_misc", "review": "text_movie_reviews"}
MODEL = "all-MiniLM-L6-v2-fp16"
THINGS = ("soup", "menu")
NUM_ROWS = {"train": 120, "validation": 40}
EVENTS = [16, 24]
RUN = {
    "training.batch_size": 8,
    "training.num_epochs": "null",
    "training.max_steps": 40,
    "training.learning_rate": 0.002,
    "training.eval_every": 20,
    "training.save_every": 40,
    "pruning.target_sparsity": 0.5,
    "pruning.start": 8,
    "pruning.stop": EVENTS[-1],
    "pruning.num_events": len(EVENTS),
    "pruning.window": 6,
    "pruning.mask_step": 0.2,
    "distillation.stop": 30,
    "hardware.engine": "torch",
    "evaluation.measure_efficiency": "false",
    "tracking.enabled": "false",
}
"""What makes the run short; nothing in it is about the data."""


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])


def write_visits(folder: Path) -> None:
    """Where somebody was, how it was, and what they advise: a word for a class."""
    rows = [
        (f"mia left the {thing} on monday", f"the {thing} was {word}", advice)
        for advice, opinions in OPINIONS.items()
        for thing, word in product(THINGS, opinions)
    ]
    random.Random(0).shuffle(rows)
    start = 0
    for split, count in NUM_ROWS.items():
        part = rows[start : start + count]
        write_csv(folder / f"{split}.csv", ("visit", "remark", "advice"), part)
        start += count


def train_here(folder: Path, recipe: Path, **changes: object) -> RunReport:
    """`aptune train --local` with nothing but a recipe and what makes the run short."""
    results = {"orchestration.results_dir": folder / "runs", "data.cache_dir": folder / "cache"}
    settings = {**RUN, **results, **changes}
    sets = [part for name, value in settings.items() for part in ("-s", f"{name}={value}")]
    with pytest.raises(SystemExit) as ended:
        run_app(app, ["train", "--local", "-c", str(recipe), *sets])
    assert ended.value.code == 0
    (found,) = (folder / "runs").glob("*/trials/*/result.json")
    return RunReport.load(found)


def assert_pruned(report: RunReport, sparsity: float = 0.5) -> None:
    assert [s["step"] for s in report.surgeries if s["pruned"]] == EVENTS
    assert sparsity <= report.sparsity < sparsity + 0.05


@pytest.mark.parametrize("columns", [["remark"], ["visit", "remark"]])
def test_a_folder_of_csv_files_is_trained_on_by_its_yaml_alone(
    tmp_path: Path, columns: list[str]
) -> None:
    write_visits(tmp_path / "visits")
    recipe = tmp_path / "visits.yaml"
    recipe.write_text(
        "name: visits\n"
        "model: {model_type: toy}\n"
        "data:\n"
        "  dataset: visits\n"
        "  datasets:\n"
        "    visits:\n"
        f"      path: {tmp_path / 'visits'}\n"
        f"      text_columns: [{', '.join(columns)}]\n"
        "      label_column: advice\n"
        "      labels: [avoid, return]\n"
    )
    report = train_here(tmp_path, recipe)
    assert_pruned(report)
    assert (report.name, report.dataset, report.metric_name) == ("visits", "visits", "accuracy")
    assert report.metric > 0.8


def write_passages(folder: Path, texts: Path) -> None:
    """How a text begins, and by name whether it is a film review."""
    beginnings = {
        source: [
            " ".join(text[:200].split())
            for text in pq.read_table(texts / name / "train.parquet")["text"].to_pylist()
        ]
        for source, name in SOURCES.items()
    }
    for split, part in (("train", slice(0, 1600, 10)), ("validation", slice(5, 1605, 32))):
        rows = [(text, source) for source, found in beginnings.items() for text in found[part]]
        write_csv(folder / f"{split}.csv", ("passage", "source"), rows)


def test_real_texts_are_trained_on_by_their_yaml_alone(real_data: Path, tmp_path: Path) -> None:
    write_passages(tmp_path / "passages", real_data / "data")
    recipe = tmp_path / "passages.yaml"
    recipe.write_text(
        "name: passages\n"
        f"model: {{model_type: mine, architectures: {{mine: {real_data / 'models' / MODEL}}}}}\n"
        "data:\n"
        "  dataset: passages\n"
        "  datasets:\n"
        "    passages:\n"
        f"      path: {tmp_path / 'passages'}\n"
        "      text_columns: [passage]\n"
        "      label_column: source\n"
        "      labels: [other, review]\n"
    )
    changes = {"data.max_length": 32, "pruning.target_sparsity": 0.2}
    report = train_here(tmp_path, recipe, **changes)
    assert_pruned(report, 0.2)
    assert (report.name, report.dataset) == ("passages", "passages")
    assert report.metric > 0.8

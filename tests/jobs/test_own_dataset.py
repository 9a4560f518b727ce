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
MODEL = "all-MiniLM-L6-v2-fp16"
THINGS = ("soup", "menu")
NUM_ROWS = {"train": 120, "validation": 40}
EVENTS = [16, 24]
RUN = {
    "training.batch_size": 8,
    "training.num_epochs": "null",
    "training.max_steps": 40,
    "training.learning_rate": 0.002,
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


def assert_pruned(report: RunReport) -> None:
    assert [s["step"] for s in report.surgeries if s["pruned"]] == EVENTS
    assert 0.5 <= report.sparsity < 0.55


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


def write_reviews(folder: Path, reviews: Sequence[str]) -> None:
    """Film reviews with their side by name, those of the first half being negative."""
    half = len(reviews) // 2
    rows = [
        (review, side)
        for negative, positive in zip(reviews[:half], reviews[half:], strict=True)
        for review, side in ((negative, "negative"), (positive, "positive"))
    ]
    write_csv(folder / "train.csv", ("review", "side"), rows[:640])
    write_csv(folder / "validation.csv", ("review", "side"), rows[-200:])


def test_film_reviews_are_trained_on_by_their_yaml_alone(real_data: Path, tmp_path: Path) -> None:
    table = pq.read_table(real_data / "data" / "text_movie_reviews" / "train.parquet")
    write_reviews(tmp_path / "films", table["text"].to_pylist())
    recipe = tmp_path / "films.yaml"
    recipe.write_text(
        "name: films\n"
        f"model: {{model_type: mine, architectures: {{mine: {real_data / 'models' / MODEL}}}}}\n"
        "data:\n"
        "  dataset: films\n"
        "  datasets:\n"
        "    films:\n"
        f"      path: {tmp_path / 'films'}\n"
        "      text_columns: [review]\n"
        "      label_column: side\n"
        "      labels: [negative, positive]\n"
    )
    report = train_here(tmp_path, recipe, **{"training.batch_size": 16, "data.max_length": 64})
    assert_pruned(report)
    assert (report.name, report.dataset, report.metric_name) == ("films", "films", "accuracy")
    assert report.metric > 0.55

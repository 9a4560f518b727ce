"""The map of the specification in `apt_core/README.md` is whole, and leads to what exists."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from typer.main import get_command

from apt_core.config import ExperimentConfig
from apt_core.config.translate import field_paths
from jobs.train import app

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "apt_core" / "README.md"
NUM_STATEMENTS = 79
NOT_YET: tuple[str, ...] = ()
"""Statements that are open, in part or in whole; each says on the page what there is instead."""
PUBLIC_CLASSES = {
    "AdaptivePruner": "apt_core.pruner.policy",
    "SparsityScheduler": "apt_core.pruner.schedule",
    "AdaptiveTuner": "apt_core.tuner.policy",
    "SelfDistiller": "apt_core.distiller.self_distiller",
    "APTrainer": "apt_core.trainer.loop",
    "DatasetLoader": "apt_core.data.loader",
    "Evaluator": "apt_core.evaluator.evaluator",
}
BULLET = re.compile(r"\s*(?:[-*]|\d+\.|(?=--\w))\s*(.*)")
DOTTED = re.compile(r"`([a-z_]+\.[a-z_.]+)`")


@dataclass(frozen=True)
class Statement:
    """One row of the map."""

    name: str
    text: str
    places: tuple[str, ...]
    tests: tuple[str, ...]


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def quoted(cell: str) -> tuple[str, ...]:
    return tuple(re.findall(r"`([^`]+)`", cell))


@cache
def statements() -> tuple[Statement, ...]:
    rows = [cells_of(line) for line in PAGE.read_text().splitlines() if line.startswith("| S")]
    return tuple(
        Statement(name, text, quoted(places), quoted(tests))
        for name, text, places, tests in (row for row in rows if re.fullmatch(r"S\d\d", row[0]))
    )


def full_path(place: str, default: str) -> str:
    tops = ("apt_core/", "orchestrator/", "jobs/", "tests/", "scripts/")
    return place if place.startswith(tops) else f"{default}/{place}"


@cache
def names_defined_in(path: str) -> frozenset[str]:
    """Functions, classes, methods as ``Class.method``, and constants of a file."""
    return frozenset(_names(ast.parse((ROOT / path).read_text()).body))


def _names(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        if isinstance(node, ast.ClassDef):
            yield from (f"{node.name}.{name}" for name in _names(node.body))
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def unknown(places: tuple[str, ...], default: str) -> list[str]:
    """Those of ``file::name`` that do not exist."""
    wrong = []
    for place in places:
        path, _, name = full_path(place, default).partition("::")
        if not (ROOT / path).is_file() or name not in names_defined_in(path):
            wrong.append(place)
    return wrong


def test_every_statement_has_a_number_a_place_and_a_test() -> None:
    names = [statement.name for statement in statements()]
    assert names == [f"S{number:02d}" for number in range(1, NUM_STATEMENTS + 1)]
    assert [s.name for s in statements() if not (s.text and s.places and s.tests)] == []


def test_every_place_named_exists() -> None:
    assert {s.name: w for s in statements() if (w := unknown(s.places, "apt_core"))} == {}


def test_every_test_named_exists() -> None:
    assert {s.name: w for s in statements() if (w := unknown(s.tests, "tests/apt_core"))} == {}
    assert all(
        test.partition("::")[2].startswith("test_") for s in statements() for test in s.tests
    )


def test_every_key_named_exists() -> None:
    known = set(field_paths(ExperimentConfig))
    named = {key for s in statements() for key in DOTTED.findall(s.text)} - {"report.csv"}
    assert len(named) > 25
    assert named - known == set()


def test_every_flag_named_exists_with_its_values() -> None:
    options = {name for param in get_command(app).params for name in param.opts}
    named = {flag for s in statements() for flag in re.findall(r"`(--\w+)`", s.text)}
    assert named == {"--model_type", "--dataset", "--sparsity_level", "--ablation"}
    assert named - options == set()


@pytest.mark.parametrize(("name", "module"), PUBLIC_CLASSES.items())
def test_every_class_named_can_be_imported(name: str, module: str) -> None:
    assert isinstance(getattr(import_module(module), name), type)
    assert any(re.search(rf"\b{name}\b", statement.text) for statement in statements())


def test_what_is_open_is_listed_here_and_said_there() -> None:
    assert tuple(s.name for s in statements() if "not yet" in s.text) == NOT_YET


@pytest.mark.parametrize("column", ["Code", "Test", "Held by"])
def test_every_file_of_the_other_tables_exists(column: str) -> None:
    folder = "apt_core" if column == "Code" else "tests/apt_core"
    files = [path for cell in column_of(column) for path in quoted(cell) if "/" in path]
    assert len(files) > 10
    missing = [path for path in files if not list((ROOT / folder).glob(path))]
    assert missing == []


def column_of(heading: str) -> Iterator[str]:
    """The cells below a heading, in all tables that are not the map of the specification."""
    position = None
    for line in PAGE.read_text().splitlines():
        cells = cells_of(line)
        if not line.startswith("|"):
            position = None
        elif heading in cells and "Id" not in cells:
            position = cells.index(heading)
        elif position is not None and set(cells[position]) != {"-"}:
            yield cells[position]


def test_no_statement_of_the_document_is_left_out(real_data: Path) -> None:
    document = real_data / "seed-main.md"
    if not document.is_file():
        pytest.skip(f"{document} is not there")
    lines = [
        found[1] for line in document.read_text().splitlines() if (found := BULLET.match(line))
    ]
    assert len(lines) == len(statements())
    for line, statement in zip(lines, statements(), strict=True):
        keys = re.findall(r"config\.([a-z_]+(?:\.[a-z_]+)*)", line.replace("config.yaml", ""))
        missing = [key for key in keys if f"`{key}`" not in statement.text]
        if flag := re.match(r"(--\w+) \[(.*)\]", line):
            words = [flag[1], *flag[2].split("|")]
            missing += [word for word in words if word not in statement.text]
        assert missing == [], f"{statement.name}: {line}"

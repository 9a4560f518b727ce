"""Who a run is: an id made of what changes its result, and the grid written out as cells.

The folder of a trial, its Ray run and its MLflow tag derive from `run_id`: the same command finds
what it has done before, and identical cells are trained once.
"""

import functools
import hashlib
import itertools
import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import apt_core
from apt_core.config import ExperimentConfig, GridBlock, config_from_json, config_to_json
from apt_core.config.yaml_files import deep_merge, parse_yaml
from apt_core.errors import ConfigError

ID_LENGTH = 16
GRID_PATHS = {
    "arm": "arm",
    "ablation": "ablation",
    "sparsity": "pruning.target_sparsity",
    "model": "model.model_type",
    "dataset": "data.dataset",
    "seed": "training.seed",
}
"""Grid key -> field path."""

_BASELINE_FIRST = {"ft": 0, "lora": 1}


@dataclass(frozen=True)
class Cell:
    """One training of a grid."""

    overrides: tuple[str, ...]
    """The ``--set`` strings that make it out of the base files; they run this cell alone."""
    config: ExperimentConfig
    """Its resolved configuration, without the grid."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Every grid key, and every path that any block sets, with this cell's value."""


def run_id(
    config: ExperimentConfig, data_fingerprint: str, code_version: str, teacher: str | None = None
) -> str:
    """The identity of one training: equal ids mean that the results must be equal.

    Args:
        config: The configuration; only what changes the result counts.
        data_fingerprint: Identifies the content of the dataset.
        code_version: What `code_version` returned.
        teacher: The identity of the run that teaches this one, where one does.

    Returns:
        16 hexadecimal digits.
    """
    what: dict[str, Any] = {
        "config": config.result_key(),
        "data": data_fingerprint,
        "code": code_version,
    }
    if teacher is not None:
        what["teacher"] = teacher
    return _digest(_canonical(what))


def sweep_id(run_ids: Iterable[str]) -> str:
    """The identity of a set of trainings, whatever their order: 16 hexadecimal digits."""
    return _digest("\n".join(sorted(set(run_ids))))


def grid_id(config: ExperimentConfig) -> str:
    """The identity of a grid before anybody has looked at its data: the same folder, equal cells.

    Nothing has to exist here, not even the variables in paths: it names the job that runs the grid
    on another machine. The order of the cells and the spelling of the grid do not matter; data and
    code do not count, since a later job goes on in the same folder with what is there then.

    Args:
        config: The configuration, with or without a grid.

    Returns:
        16 hexadecimal digits.

    Raises:
        ConfigError: With every bad cell: its overrides and what is wrong with it.
    """
    base, all_assignments = _written_out(config)
    cells = _validated(base, all_assignments, with_paths=False)
    orchestration = config.orchestration
    where = {"results_dir": orchestration.results_dir, "name": config.name}
    what = sorted({_canonical(_without_places(cell.config)) for cell in cells})
    return _digest(_canonical({"where": where, "cells": what}))


@functools.cache
def code_version() -> str:
    """Package version and a digest of the method's sources: a changed formula is another run."""
    try:
        package = version("aptune")
    except PackageNotFoundError:
        package = "0"
    root = Path(apt_core.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    return f"{package}+{digest.hexdigest()[:ID_LENGTH]}"


def expand_grid(config: ExperimentConfig) -> list[Cell]:
    """Every training that `orchestration.grid` asks for, each once, baselines first.

    The order is ``ft``, then ``lora``, then the rest, otherwise as written. Cells that come out as
    the same training (``ft`` at two sparsities) are one: the first that was written.

    Args:
        config: The base configuration; without a grid it is the only cell.

    Returns:
        The cells.

    Raises:
        ConfigError: With every bad cell: its overrides and what is wrong with it.
    """
    cells = _distinct(_validated(*_written_out(config)))
    cells.sort(key=lambda cell: _BASELINE_FIRST.get(cell.config.arm, len(_BASELINE_FIRST)))
    blocks = config.orchestration.grid
    set_paths = sorted({path for block in blocks for path in (*block.set, *block.search)})
    return [replace(cell, keys=_keys(cell.config, set_paths)) for cell in cells]


def _written_out(config: ExperimentConfig) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The base without its grid, and what each cell sets on top of it."""
    base = config_to_json(config)
    base["orchestration"]["grid"] = []
    blocks = config.orchestration.grid or (GridBlock(),)
    return base, [cell for block in blocks for cell in _assignments(block)]


def _without_places(config: ExperimentConfig) -> dict[str, Any]:
    """A cell's configuration without name, cluster and tracking."""
    left_out = {"name", "orchestration", "tracking"}
    return {key: value for key, value in config_to_json(config).items() if key not in left_out}


def _assignments(block: GridBlock) -> Iterator[dict[str, Any]]:
    """Field path -> value for every combination of the block's lists."""
    axes = {path: getattr(block, key) for key, path in GRID_PATHS.items()}
    axes = {path: values for path, values in axes.items() if values is not None} | block.search
    searched = {"orchestration.searched": sorted(block.search)} if block.search else {}
    for values in itertools.product(*axes.values()):
        yield {**block.set, **searched, **dict(zip(axes, values, strict=True))}


def _validated(
    base: Mapping[str, Any], cells: Sequence[Mapping[str, Any]], *, with_paths: bool = True
) -> list[Cell]:
    valid: list[Cell] = []
    bad: dict[str, list[str]] = {}
    for assignments in cells:
        overrides = tuple(f"{path}={_as_text(value)}" for path, value in assignments.items())
        try:
            cell = Cell(overrides, config_from_json(_overridden(base, assignments)))
            if with_paths:
                cell.config.result_key()  # complains about unset variables in paths
            valid.append(cell)
        except ConfigError as error:
            bad.setdefault(str(error), []).append(shlex.join(overrides))
    if bad:
        raise ConfigError(_complaint(bad, len(cells)))
    return valid


def _complaint(bad: Mapping[str, Sequence[str]], num_cells: int) -> str:
    """Every problem once, and below it the cells that have it."""
    num_bad = sum(len(cells) for cells in bad.values())
    lines = [f"orchestration.grid: {num_bad} of {num_cells} cells are not valid"]
    for problems, cells in bad.items():
        lines += [f"  {line}" for line in problems.splitlines()]
        lines += [f"    in cell: {cell}" for cell in cells]
    return "\n".join(lines)


def _overridden(base: Mapping[str, Any], assignments: Mapping[str, Any]) -> dict[str, Any]:
    data = dict(base)
    for path, value in assignments.items():
        nested = value
        for key in reversed(path.split(".")):
            nested = {key: nested}
        data = deep_merge(data, nested)
    return data


def _distinct(cells: Iterable[Cell]) -> list[Cell]:
    """The first of each set of cells that are the same training."""
    by_result: dict[str, Cell] = {}
    for cell in cells:
        teacher = cell.config.distillation.teacher_path if cell.config.switches.distill else None
        by_result.setdefault(_canonical([cell.config.result_key(), teacher]), cell)
    return list(by_result.values())


def _keys(config: ExperimentConfig, set_paths: Sequence[str]) -> dict[str, str]:
    data = config_to_json(config)
    paths = {**GRID_PATHS, **{path: path for path in set_paths if path not in GRID_PATHS.values()}}
    keys = {key: _as_text(_value_at(data, path)) for key, path in paths.items()}
    if not config.switches.prune:
        keys["sparsity"] = "0.0"
    return keys


def _value_at(data: Any, path: str) -> Any:
    for key in path.split("."):
        data = data[key]
    return data


def _as_text(value: Any) -> str:
    """The value as one writes it after ``--set path=``."""
    plain = str(value)
    is_plain = isinstance(value, str) and value == _parsed(plain)
    return plain if is_plain else json.dumps(value)


def _parsed(text: str) -> Any:
    try:
        return parse_yaml(text, "")
    except ConfigError:
        return None


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:ID_LENGTH]

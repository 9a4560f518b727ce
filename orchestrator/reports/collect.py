"""Read a sweep's folder into `SweepRecords`. One torn file costs a warning, never the report."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from apt_core.errors import DataError
from apt_core.report import EvalPoint, RunReport
from orchestrator.execution.status import REBUILT_FILE, SWEEP_FILE
from orchestrator.goodput import goodput_of
from orchestrator.reports.records import (
    CellKey,
    Curves,
    Settings,
    ShapePoint,
    SweepRecords,
    UnfinishedTrial,
    cell_of_settings,
)
from orchestrator.reports.settings import flatten

MAX_LOSS_POINTS = 100
_UNREADABLE = (OSError, ValueError, TypeError, KeyError, AttributeError)


@dataclass
class _Reading:
    """What has been read so far."""

    reports: list[RunReport] = field(default_factory=list)
    unfinished: list[UnfinishedTrial] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    settings: dict[str, Settings] = field(default_factory=dict)
    curves: dict[str, Curves] = field(default_factory=dict)


def collect(sweep_dir: Path) -> SweepRecords:
    """Read every trial of a sweep, be it finished, running or crashed.

    Args:
        sweep_dir: The sweep's folder, ``<results_dir>/<name>``, with a ``trials`` folder inside.

    Returns:
        Reports of the finished trials, reasons for the others, warnings about unreadable files.

    Raises:
        DataError: If the folder has no ``trials`` folder.
    """
    trials_dir = sweep_dir / "trials"
    if not trials_dir.is_dir():
        raise DataError(
            f"{sweep_dir}: no trials/ folder inside. "
            "Give the folder of one sweep, <results_dir>/<name>."
        )
    reading = _Reading(warnings=_notes(sweep_dir))
    members = _members(sweep_dir, reading.warnings)
    for folder in sorted(path for path in trials_dir.iterdir() if path.is_dir()):
        if members is None or folder.name in members:
            _read_trial(folder, reading)
    records = _records(sweep_dir.resolve().name, reading)
    return replace(records, goodput=goodput_of(sweep_dir, records.curves))


def collect_trials(folders: Sequence[Path]) -> SweepRecords:
    """Read some trials, of one sweep or of several.

    Args:
        folders: Their folders, ``<results_dir>/<name>/trials/<run id>``.

    Returns:
        The same as of a whole sweep, in the order given.
    """
    reading = _Reading()
    for folder in folders:
        _read_trial(folder, reading)
    return _records("", reading)


def _records(name: str, reading: _Reading) -> SweepRecords:
    return SweepRecords(
        name=name,
        reports=tuple(reading.reports),
        unfinished=tuple(reading.unfinished),
        warnings=tuple(reading.warnings),
        settings=reading.settings,
        curves=reading.curves,
    )


def _members(sweep_dir: Path, warnings: list[str]) -> frozenset[str] | None:
    """The trials that the last launch consisted of; None: all that are there."""
    data = _read_object(sweep_dir / SWEEP_FILE, warnings)
    run_ids = None if data is None else data.get("run_ids")
    return frozenset(run_ids) if isinstance(run_ids, list) else None


def _notes(sweep_dir: Path) -> list[str]:
    """What a tracking server lacked, where the folder was rebuilt from one."""
    notes = (_read_object(sweep_dir / REBUILT_FILE, []) or {}).get("notes")
    return [str(note) for note in notes] if isinstance(notes, list) else []


def _read_trial(folder: Path, reading: _Reading) -> None:
    settings = _read_settings(folder, reading.warnings)
    report, result_problem = _read_report(folder, reading.warnings)
    run_id = report.run_id if report else folder.name
    curves = _read_curves(folder, reading.warnings)
    if report and report.history:
        curves = replace(curves, evals=report.history)
    if settings is not None:
        reading.settings[run_id] = settings
    reading.curves[run_id] = curves
    if report is not None:
        reading.reports.append(report)
    else:
        trial = _unfinished(folder, settings, curves, result_problem, reading.warnings)
        reading.unfinished.append(trial)


def _read_object(path: Path, warnings: list[str]) -> dict[str, Any] | None:
    """The JSON object in a file; None when there is none, and, with a warning, when it is torn."""
    if not path.exists():
        return None
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict):
            raise TypeError("not a JSON object")
    except _UNREADABLE as error:
        warnings.append(f"{_short(path)}: cannot be read ({error}); left out.")
        return None
    return data


def _read_settings(folder: Path, warnings: list[str]) -> Settings | None:
    data = _read_object(folder / "config.json", warnings)
    return None if data is None else flatten(data)


def _read_report(folder: Path, warnings: list[str]) -> tuple[RunReport | None, str]:
    """The trial's report, or None and what is wrong with its file ("" when there is none)."""
    path = folder / "result.json"
    if not path.exists():
        return None, ""
    try:
        report = RunReport.load(path)
        _check_numbers(report)
    except _UNREADABLE as error:
        problem = f"result.json cannot be read ({type(error).__name__}: {error})"
        warnings.append(
            f"{_short(path)}: cannot be read ({error}); the trial counts as unfinished."
        )
        return None, problem
    return report, ""


def _check_numbers(report: RunReport) -> None:
    """Raise TypeError unless what the tables compute with are numbers."""
    efficiency = report.efficiency
    numbers = {
        "metric": report.metric,
        "sparsity": report.sparsity,
        "target_sparsity": report.target_sparsity,
        "train_time_s": report.train_time_s,
        "efficiency.num_layer_params": efficiency.num_layer_params,
        "efficiency.num_total_params": efficiency.num_total_params,
        "efficiency.peak_train_memory_gib": efficiency.peak_train_memory_gib,
    }
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{name} is {value!r}, not a number")


def _unfinished(
    folder: Path,
    settings: Settings | None,
    curves: Curves,
    result_problem: str,
    warnings: list[str],
) -> UnfinishedTrial:
    state, reason = _state_of(_read_object(folder / "status.json", warnings), curves)
    if result_problem:
        state, reason = "unreadable", result_problem
    cell, seed = _cell_and_seed(folder, settings, warnings)
    return UnfinishedTrial(folder.name, state, reason, cell, seed, curves.last_step)


def _state_of(status: Mapping[str, Any] | None, curves: Curves) -> tuple[str, str]:
    """A trial's state in one word and the reason in one line, from its status file and its log."""
    at_step = (
        "before the first logged step" if curves.last_step is None else f"step {curves.last_step}"
    )
    state = str((status or {}).get("state", "PENDING")).lower()
    given = str((status or {}).get("reason") or "").strip()
    if state == "finished":
        return "unreadable", "marked as finished, but result.json is missing"
    if state in {"failed", "killed"}:
        return state, f"{given or 'no reason recorded'} (last log: {at_step})"
    if state == "running":
        return state, given or f"no result yet; running or crashed (last log: {at_step})"
    return "pending", given or f"no result yet (last log: {at_step})"


def _cell_and_seed(
    folder: Path, settings: Settings | None, warnings: list[str]
) -> tuple[CellKey | None, int | None]:
    if settings is None:
        warnings.append(f"trials/{folder.name}: no readable config.json; its table row is unknown.")
        return None, None
    try:
        return cell_of_settings(settings), int(settings["training.seed"])
    except _UNREADABLE as error:
        warnings.append(
            f"trials/{folder.name}/config.json: incomplete ({error!r}); its table row is unknown."
        )
        return None, None


def _read_curves(folder: Path, warnings: list[str]) -> Curves:
    """Evaluations and change points of the shape from a trial's ``metrics.jsonl``."""
    path = folder / "metrics.jsonl"
    evals: list[EvalPoint] = []
    shape: list[ShapePoint] = []
    losses: list[tuple[int, float]] = []
    last_step = None
    for step, values in read_log(path, warnings):
        last_step = step
        evals.extend(_eval_point(step, values))
        _extend_shape(shape, step, values)
        loss = _number(values, "train/loss")
        if loss is not None:
            losses.append((step, loss))
    return Curves(tuple(evals), tuple(shape), _thinned(losses), last_step)


def _thinned(points: Sequence[tuple[int, float]]) -> tuple[tuple[int, float], ...]:
    """At most `MAX_LOSS_POINTS`: the means of equally many neighbours, at their last step."""
    size = -(-len(points) // MAX_LOSS_POINTS) or 1
    stretches = [points[i : i + size] for i in range(0, len(points), size)]
    return tuple((part[-1][0], fmean(loss for _, loss in part)) for part in stretches)


def read_log(path: Path, warnings: list[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Step and values of every readable line of a ``metrics.jsonl``; one warning for the others.

    Args:
        path: The file; one that is missing has no lines.
        warnings: Where the warning goes.

    Yields:
        (step, values) in the order of the file.
    """
    if not path.exists():
        return
    num_torn = 0
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                record = json.loads(line)
                yield int(record["step"]), dict(record["values"])
            except _UNREADABLE:
                num_torn += 1
    if num_torn:
        warnings.append(f"{_short(path)}: {num_torn} torn line(s) skipped.")


def _eval_point(step: int, values: Mapping[str, Any]) -> list[EvalPoint]:
    metric, train_time = _number(values, "eval/metric"), _number(values, "time/train_s")
    if metric is None or train_time is None:
        return []
    eval_time = _number(values, "time/eval_s") or 0.0
    return [
        EvalPoint(step, train_time, eval_time, metric, _number(values, "model/sparsity") or 0.0)
    ]


def _extend_shape(shape: list[ShapePoint], step: int, values: Mapping[str, Any]) -> None:
    """Append a point; of a constant stretch, keep the first and the last."""
    sparsity = _number(values, "model/sparsity")
    if sparsity is None:
        return
    rank, hidden_size = _number(values, "model/rank_mean"), _number(values, "model/hidden_size")
    point = ShapePoint(step, sparsity, rank, hidden_size)
    same = [p for p in shape[-2:] if replace(p, step=step) == point]
    if len(same) == 2:  # noqa: PLR2004 - the middle one of three equal points says nothing
        shape[-1] = point
    else:
        shape.append(point)


def _number(values: Mapping[str, Any], key: str) -> float | None:
    value = values.get(key)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and value is not None else None


def _short(path: Path) -> str:
    return f"trials/{path.parent.name}/{path.name}"

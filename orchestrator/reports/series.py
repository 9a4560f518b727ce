"""The curves behind the figures as plain numbers, which also stand beside them as CSV (PURE)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from apt_core.report import EvalPoint, RunReport
from orchestrator.reports.records import Curves, ShapePoint
from orchestrator.reports.rows import Row, TaskTable, label_of
from orchestrator.reports.wording import metric_scale


@dataclass(frozen=True)
class Line:
    """One run's curve, or the points of one arm."""

    label: str
    """The table row it belongs to: lines with one label look alike."""
    run_id: str
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    lows: tuple[float, ...] = ()
    """Lower ends of the spread; empty where none is drawn."""
    highs: tuple[float, ...] = ()
    group: str = ""
    """Points of one group are joined: one method at several sparsities."""
    marks: tuple[tuple[float, float], ...] = ()
    """Where the model was cut or grown, as (x, y)."""


def interpolate(xs: Sequence[float], ys: Sequence[float], x: float) -> float | None:
    """The value at `x` on the line through the points, `xs` ascending; None outside of them."""
    for (x0, y0), (x1, y1) in zip(
        zip(xs, ys, strict=True), zip(xs[1:], ys[1:], strict=True), strict=False
    ):
        if x0 <= x <= x1:
            return y0 if x1 == x0 else y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return None


def metric_over_time(table: TaskTable, curves: Mapping[str, Curves]) -> list[Line]:
    """The metric over training time (s, evaluations left out), a line per run, surgeries marked."""
    scale = metric_scale(table.metric_name)
    lines = []
    for row in table.rows:
        for run_id in _run_ids(row):
            points = curves.get(run_id, Curves()).evals
            if points:
                surgeries = _surgery_steps(row, run_id)
                lines.append(_time_line(label_of(row.key), run_id, points, surgeries, scale))
    return lines


def _time_line(
    label: str, run_id: str, points: Sequence[EvalPoint], surgery_steps: Iterable[int], scale: float
) -> Line:
    steps = [float(point.step) for point in points]
    times = [point.train_time_s for point in points]
    metrics = [scale * point.metric for point in points]
    marks = []
    for step in surgery_steps:
        x, y = interpolate(steps, times, step), interpolate(steps, metrics, step)
        if x is not None and y is not None:
            marks.append((x, y))
    return Line(label, run_id, tuple(times), tuple(metrics), marks=tuple(marks))


def mean_lines(lines: Sequence[Line]) -> list[Line]:
    """The mean of the runs of each row, over those with as many points as the longest of them."""
    means = []
    for label in dict.fromkeys(line.label for line in lines):
        runs = [line for line in lines if line.label == label]
        longest = [run for run in runs if len(run.xs) == max(len(run.xs) for run in runs)]
        xs = _mean_of(run.xs for run in longest)
        ys = _mean_of(run.ys for run in longest)
        means.append(Line(label, "", xs, ys))
    return means


def _mean_of(sequences: Iterable[tuple[float, ...]]) -> tuple[float, ...]:
    return tuple(sum(values) / len(values) for values in zip(*sequences, strict=True))


def loss_over_steps(table: TaskTable, curves: Mapping[str, Curves]) -> list[Line]:
    """The training loss over steps, a line per run."""
    return [
        Line(label_of(row.key), run_id, *_split(curves[run_id].losses))
        for row in table.rows
        for run_id in _run_ids(row)
        if run_id in curves and curves[run_id].losses
    ]


def sparsity_over_steps(table: TaskTable, curves: Mapping[str, Curves]) -> list[Line]:
    """Sparsity (%) over steps, a line per run."""
    return _shape_lines(table, curves, lambda point: 100 * point.sparsity)


def hidden_size_over_steps(table: TaskTable, curves: Mapping[str, Curves]) -> list[Line]:
    """The hidden size over steps, a line per run that logs it."""
    return _shape_lines(table, curves, lambda point: point.hidden_size)


def rank_over_steps(table: TaskTable, curves: Mapping[str, Curves]) -> list[Line]:
    """The mean adapter rank over steps, a line per run; arms without adapters have none."""
    lines = _shape_lines(table, curves, lambda point: point.rank_mean)
    return [line for line in lines if any(line.ys)]


def _shape_lines(
    table: TaskTable, curves: Mapping[str, Curves], read: Callable[[ShapePoint], float | None]
) -> list[Line]:
    lines = []
    for row in table.rows:
        for run_id in _run_ids(row):
            points = curves.get(run_id, Curves()).shape
            known = [(float(p.step), y) for p in points if (y := read(p)) is not None]
            if known:
                lines.append(Line(label_of(row.key), run_id, *_split(known)))
    return lines


def _split(points: Iterable[tuple[float, float]]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    xs, ys = zip(*points, strict=True)
    return tuple(map(float, xs)), ys


def _run_ids(row: Row) -> list[str]:
    """The runs of a row, unfinished ones too: they may have logged something."""
    return [run.run_id for run in row.runs] + [trial.run_id for trial in row.unfinished]


def _surgery_steps(row: Row, run_id: str) -> list[int]:
    runs: list[RunReport] = [run for run in row.runs if run.run_id == run_id]
    return [int(surgery["step"]) for run in runs for surgery in run.surgeries if "step" in surgery]

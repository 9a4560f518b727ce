"""Quality against cost, a point per row: the data of the paper's Figures 3, 4 and 5 (PURE)."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from orchestrator.reports.panels import Panel
from orchestrator.reports.records import CellKey, Settings
from orchestrator.reports.rows import InferenceStat, Row, TaskTable, label_of
from orchestrator.reports.series import Line
from orchestrator.reports.stat import MIN_SEEDS_FOR_SPREAD, NOTHING, Stat
from orchestrator.reports.wording import metric_scale

INITIAL_RANK = "training.initial_rank"
NO_INFERENCE = InferenceStat(NOTHING, NOTHING, NOTHING, NOTHING)


def metric_vs_sparsity(table: TaskTable) -> list[Line]:
    """Mean metric over mean sparsity (%), a point with its spread per row."""
    return points_over(table, lambda row: _scaled(row.sparsity.mean, 100))


def metric_vs_speedup(table: TaskTable, batch_size: int) -> list[Line]:
    """Mean metric over mean inference speed-up at one batch size, a point per row."""
    return points_over(table, lambda row: _inference(row, batch_size).speedup.mean)


def metric_vs_inference_memory(table: TaskTable, batch_size: int) -> list[Line]:
    """Mean metric over mean peak memory of inference (GiB) at one batch size, a point per row."""
    return points_over(table, lambda row: _inference(row, batch_size).peak_memory_gib.mean)


def metric_vs_training_memory(table: TaskTable) -> list[Line]:
    """Mean metric over mean peak memory of training (GiB), a point per row."""
    return points_over(table, lambda row: row.peak_train_memory_gib.mean)


def metric_vs_training_speed(table: TaskTable) -> list[Line]:
    """Mean metric over training speed, a point per row that got to 97% of FT.

    Speed is FT's time to that accuracy over the row's own, teachers counted [paper Figure 4].
    """
    times = [time for row in table.rows if row.is_baseline and (time := time_to_target(row))]
    if len(times) != 1:
        return []  # several baselines: no one time that all compare to
    return points_over(table, lambda row: _ratio(times[0], time_to_target(row)))


def time_to_target(row: Row) -> float | None:
    """Mean seconds of training to 97% of FT; None where no run got there."""
    return row.time_to_target.seconds.mean if row.time_to_target is not None else None


def arrives(row: Row) -> bool:
    """Whether any run of the row got to 97% of FT."""
    return time_to_target(row) is not None


def metric_vs_layer_params(table: TaskTable) -> list[Line]:
    """Mean metric over the parameters left in the layers (millions), a point per row."""
    return points_over(table, lambda row: _scaled(row.num_layer_params.mean, 1e-6))


def baseline_level(table: TaskTable) -> float | None:
    """The metric of full fine-tuning, as shown; None where there is not one such row."""
    metrics = [row.metric.mean for row in table.rows if row.is_baseline and row.metric.n]
    return _scaled(metrics[0], metric_scale(table.metric_name)) if len(metrics) == 1 else None


def metric_vs_rank(table: TaskTable, settings: Mapping[str, Settings]) -> list[Line]:
    """Mean metric over the initial rank, a point per row [paper Figure 5].

    Empty unless a method was run at several ranks.
    """
    lines = points_over(table, lambda row: _initial_rank(row, settings), _all_but_rank)
    ranks_of = {line.group: {o.xs[0] for o in lines if o.group == line.group} for line in lines}
    studied = [line for line in lines if len(ranks_of[line.group]) > 1]
    return sorted(studied, key=lambda line: (line.group, line.xs))


def _initial_rank(row: Row, settings: Mapping[str, Settings]) -> float | None:
    ranks = {settings.get(run.run_id, {}).get(INITIAL_RANK) for run in row.runs}
    rank = ranks.pop() if len(ranks) == 1 else None
    return None if rank is None or row.is_baseline else float(rank)


def _all_but_rank(key: CellKey) -> str:
    variant = tuple((name, value) for name, value in key.variant if name != INITIAL_RANK)
    return label_of(replace(key, variant=variant, variant_name=""))


def method_of(key: CellKey) -> str:
    """A row's name without its sparsity: points of one method are joined."""
    return label_of(replace(key, target_sparsity=0.0))


def points_over(
    table: TaskTable,
    read_x: Callable[[Row], float | None],
    group_of: Callable[[CellKey], str] = method_of,
) -> list[Line]:
    """The mean metric over any other quantity, a point with its spread per row that has both.

    Args:
        table: The rows.
        read_x: The other quantity.
        group_of: What rows whose points are joined have in common.

    Returns:
        A line of one point per row.
    """
    scale = metric_scale(table.metric_name)
    points = []
    for row in table.rows:
        x, metric = read_x(row), row.metric.scaled(scale)
        if x is not None and metric.mean is not None:
            points.append(_point(label_of(row.key), x, metric, group_of(row.key)))
    return points


def _point(label: str, x: float, metric: Stat, group: str) -> Line:
    """A row as one point; its bar is the 95% interval of 3 runs on, the range of 2."""
    assert metric.mean is not None
    bar = metric.interval_95 if metric.n >= MIN_SEEDS_FOR_SPREAD else metric.min_max
    low, high = bar or (metric.mean, metric.mean)
    return Line(label, "", (x,), (metric.mean,), (low,), (high,), group)


def _inference(row: Row, batch_size: int) -> InferenceStat:
    return row.inference.get(batch_size, NO_INFERENCE)


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else factor * value


def _ratio(numerator: float, denominator: float | None) -> float | None:
    return numerator / denominator if denominator else None


def with_front(panel: Panel, *, is_more_better: bool) -> Panel:
    """The panel with its Pareto front: more of the metric is better, and more or less of x.

    Args:
        panel: Points.
        is_more_better: Whether x is a gain, as speed is, and not a cost.

    Returns:
        The same panel with the front drawn in.
    """
    sign = 1 if is_more_better else -1
    points = [(sign * line.xs[0], line.ys[0]) for line in panel.lines]
    front = sorted((sign * x, y) for x, y in pareto_front(points))
    return replace(panel, front=tuple(front))


def pareto_front(points: Iterable[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """The points that no other beats, when more is better on both axes.

    Args:
        points: (x, y).

    Returns:
        Those for which no other point is at least as good on both axes and better on one, by
        rising x; equal points once.
    """
    front: list[tuple[float, float]] = []
    for x, y in sorted(set(points), reverse=True):
        if not front or y > front[-1][1]:
            front.append((x, y))
    return tuple(reversed(front))

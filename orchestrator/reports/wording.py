"""How a row's numbers read: the same words in Markdown, HTML and on the terminal (PURE).

An empty cell never appears: what is missing says why.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

from apt_core.config.task_kinds import METRICS_OF_KIND
from orchestrator.reports.rows import InferenceStat, Row, TaskTable, label_of
from orchestrator.reports.stat import MIN_SEEDS_FOR_SPREAD, Stat

PERCENT_METRICS = frozenset(chain.from_iterable(METRICS_OF_KIND.values()))
"""Metrics in [0, 1] (or [-1, 1]) that are shown times 100: all that a task is judged by."""
NOT_MEASURED = "not measured"
NO_BASELINE = "no FT run"
NOT_REACHED = "not reached"


@dataclass(frozen=True)
class Cell:
    """One cell of a table: its text, and the number it sorts by (None: last)."""

    text: str
    value: float | str | None = None
    is_missing: bool = False


@dataclass(frozen=True)
class Column:
    """One column: heading, explanation, and how a row fills it."""

    heading: str
    help: str
    fill: Callable[[Row], Cell]
    is_number: bool = True


def metric_scale(metric_name: str) -> float:
    """The factor between a metric's stored value and the one shown."""
    return 100.0 if metric_name in PERCENT_METRICS else 1.0


def metric_unit(metric_name: str) -> str:
    """The unit of the shown metric, for headings and axes."""
    return f"{metric_name} (%)" if metric_name in PERCENT_METRICS else metric_name


def number_with_spread(stat: Stat, digits: int) -> str:
    """Mean and sample standard deviation from 3 values on, mean and range of 2, else the value."""
    if stat.mean is None:
        return NOT_MEASURED
    mean = f"{stat.mean:.{digits}f}"
    if stat.n >= MIN_SEEDS_FOR_SPREAD:
        return f"{mean} \u00b1 {stat.std:.{digits}f}"
    if stat.n > 1 and stat.min_max:
        low, high = stat.min_max
        return f"{mean} ({low:.{digits}f}-{high:.{digits}f})"
    return mean


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    if seconds < 100:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.2f} h"


def count(number: float) -> str:
    """A large count with its magnitude."""
    for magnitude, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= magnitude:
            return f"{number / magnitude:.2f} {suffix}"
    return f"{number:.0f}"


def percent(fraction: float) -> str:
    """A fraction in percent."""
    return f"{100 * fraction:.1f}%"


def arm_cell(row: Row) -> Cell:
    """The row's short name."""
    return Cell(label_of(row.key))


def runs_cell(row: Row) -> Cell:
    """How many runs stand behind the row, and what became of the others."""
    if not row.unfinished:
        return Cell(str(len(row.runs)), len(row.runs))
    states = ", ".join(
        f"{sum(t.state == state for t in row.unfinished)} {state}"
        for state in sorted({t.state for t in row.unfinished})
    )
    return Cell(f"{len(row.runs)} of {row.num_trials} ({states})", len(row.runs))


def metric_cell(row: Row) -> Cell:
    """The metric's mean and spread."""
    stat = row.metric.scaled(metric_scale(row.metric_name))
    digits = 2 if metric_scale(row.metric_name) > 1 else 4
    return _of_stat(row, stat, number_with_spread(stat, digits))


def baseline_cell(row: Row) -> Cell:
    """The metric relative to full fine-tuning: ratio and difference."""
    if row.is_baseline and row.runs:
        return Cell("baseline", 1.0)
    if row.ratio_to_baseline is None or row.difference_to_baseline is None:
        return _missing(row, NO_BASELINE)
    ratio = percent(row.ratio_to_baseline)
    return Cell(f"{ratio} ({points_cell(row).text})", row.ratio_to_baseline)


def points_cell(row: Row) -> Cell:
    """The metric's difference to full fine-tuning alone, where room is short."""
    if row.difference_to_baseline is None or row.is_baseline:
        return baseline_cell(row)
    scale = metric_scale(row.metric_name)
    difference = scale * row.difference_to_baseline
    return Cell(f"{difference:+.{2 if scale > 1 else 4}f}", difference)


def search_cell(row: Row) -> Cell:
    """What a search has chosen, and out of how many tries."""
    if row.num_tries == 1:
        return Cell("no search", None, is_missing=True)
    chosen = " ".join(f"{name.split('.')[-1]}={value}" for name, value in row.searched)
    return Cell(f"{chosen} (best of {row.num_tries})", chosen)


def time_to_target_cell(row: Row, *, with_eval: bool = False) -> Cell:
    """The time to 97% of the baseline's metric; says how many runs got there unless all did."""
    reached = row.time_to_target
    if reached is None:
        return _missing(row, NOT_MEASURED if row.has_baseline else NO_BASELINE)
    stat = reached.seconds_with_eval if with_eval else reached.seconds
    if stat.mean is None:
        return Cell(NOT_REACHED, None, is_missing=True)
    some = f" ({stat.n} of {reached.num_runs} runs)" if stat.n < reached.num_runs else ""
    return Cell(_charged(row, stat.mean) + some, stat.mean)


def train_time_cell(row: Row) -> Cell:
    """The mean training time; says so where it includes that of a teacher."""
    mean = row.train_time_s.mean
    return _of_stat(row, row.train_time_s, "" if mean is None else _charged(row, mean))


def _charged(row: Row, seconds: float) -> str:
    return duration(seconds) + (" with teacher" if row.teacher_time_s.n else "")


def speedups_cell(row: Row, batch_sizes: Sequence[int]) -> Cell:
    """The mean speed-ups at several batch sizes in one cell."""
    stats = [_inference_of(size, lambda stat: stat.speedup)(row) for size in batch_sizes]
    means = [stat.mean for stat in stats if stat.mean is not None]
    if not means:
        return _missing(row, NOT_MEASURED)
    return Cell(" ".join(_times(mean) for mean in means), means[0])


def mean_cell(read: Callable[[Row], Stat], show: Callable[[float], str]) -> Callable[[Row], Cell]:
    """A column filler that shows the mean of a statistic."""

    def fill(row: Row) -> Cell:
        stat = read(row)
        return _of_stat(row, stat, "" if stat.mean is None else show(stat.mean))

    return fill


def _of_stat(row: Row, stat: Stat, text: str) -> Cell:
    return _missing(row, NOT_MEASURED) if stat.mean is None else Cell(text, stat.mean)


def _missing(row: Row, why: str) -> Cell:
    """A cell without a number: the trials' state when there is no run, else `why`."""
    return Cell(why if row.runs else row.state, None, is_missing=True)


def _inference_of(size: int, read: Callable[[InferenceStat], Stat]) -> Callable[[Row], Stat]:
    return lambda row: read(row.inference[size]) if size in row.inference else Stat()


def _times(value: float) -> str:
    return f"{value:.2f}x"


def headline_columns(table: TaskTable) -> tuple[Column, ...]:
    """The columns of the headline table: quality, size, time, memory, speed."""
    columns = [
        Column("arm", "method, ablation, target sparsity", arm_cell, is_number=False),
        *_sparsity_columns(),
        Column(metric_unit(table.metric_name), "mean and spread over seeds", metric_cell),
        Column(
            "vs FT (points)",
            "mean over that of full fine-tuning, and the difference",
            baseline_cell,
        ),
        Column("runs", "finished runs (seeds)", runs_cell),
        Column("layer params", "left in the layers; what sparsity counts", _LAYER_PARAMS),
        Column("train time", "evaluations and checkpoints left out", train_time_cell),
        Column("to 97% of FT", "training time, evaluations left out", time_to_target_cell),
        Column("peak memory", "of training, GiB", _PEAK_MEMORY),
    ]
    return (*columns, *(_speedup_column(size) for size in table.batch_sizes))


def detail_columns(table: TaskTable) -> tuple[Column, ...]:
    """The columns of the second table: what the headline leaves out."""
    columns = [
        Column("arm", "method, ablation, target sparsity", arm_cell, is_number=False),
        Column("all params", "embeddings and head included", _TOTAL_PARAMS),
        Column("trainable at most", "peak number of trained parameters", _TRAINABLE),
        Column("MACs per sample", "one forward pass at the mean length", _MACS),
        Column(
            "to 97% of FT, with evaluation",
            "wall clock of training and evaluations",
            lambda row: time_to_target_cell(row, with_eval=True),
        ),
        Column(
            "step time, last / first", "after the last surgery over the first steps", _STEP_RATIO
        ),
    ]
    if any(row.num_tries > 1 for row in table.rows):
        how = "chosen by the score on held-out rows; the time of the other tries is not counted"
        columns.insert(1, Column("search", how, search_cell, is_number=False))
    for size in table.batch_sizes:
        columns += _inference_columns(size)
    return tuple(columns)


def _sparsity_columns() -> tuple[Column, Column]:
    sparsity = mean_cell(lambda row: row.sparsity, percent)
    density = mean_cell(lambda row: row.density, percent)
    return (
        Column("sparsity", "fraction of layer parameters removed", sparsity),
        Column("density", "1 - sparsity", density),
    )


def _speedup_column(size: int) -> Column:
    fill = mean_cell(_inference_of(size, lambda stat: stat.speedup), _times)
    return Column(f"speed-up, batch {size}", "dense latency over this latency", fill)


def _inference_columns(size: int) -> Sequence[Column]:
    latency = mean_cell(
        _inference_of(size, lambda stat: stat.latency_ms), lambda ms: f"{ms:.2f} ms"
    )
    throughput = mean_cell(
        _inference_of(size, lambda stat: stat.throughput_samples_per_s),
        lambda rate: f"{rate:.0f}/s",
    )
    return (
        Column(f"latency, batch {size}", "median over repeats, merged model", latency),
        Column(f"throughput, batch {size}", "samples per second", throughput),
    )


_LAYER_PARAMS = mean_cell(lambda row: row.num_layer_params, count)
_TOTAL_PARAMS = mean_cell(lambda row: row.num_total_params, count)
_TRAINABLE = mean_cell(lambda row: row.num_trainable_params_peak, count)
_MACS = mean_cell(lambda row: row.macs_per_sample, count)
_PEAK_MEMORY = mean_cell(lambda row: row.peak_train_memory_gib, lambda gib: f"{gib:.2f} GiB")
_STEP_RATIO = mean_cell(lambda row: row.step_time_ratio, lambda ratio: f"{ratio:.2f}")

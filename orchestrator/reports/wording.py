"""How a row's numbers read: the same words in Markdown, HTML and on the terminal (PURE).

An empty cell never appears: what is missing says why.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain

from apt_core.config.task_kinds import METRICS_OF_KIND
from orchestrator.reports.grid import Cell
from orchestrator.reports.paired import PairedDifference
from orchestrator.reports.rows import InferenceStat, Row, label_of
from orchestrator.reports.stat import Stat

PERCENT_METRICS = frozenset(chain.from_iterable(METRICS_OF_KIND.values()))
"""Metrics in [0, 1] (or [-1, 1]) that are shown times 100: all that a task is judged by."""
NOT_MEASURED = "not measured"
NO_BASELINE = "no FT run"
NOT_REACHED = "not reached"
ONE_PAIR = "one seed, no claim"


def metric_scale(metric_name: str) -> float:
    """The factor between a metric's stored value and the one shown."""
    return 100.0 if metric_name in PERCENT_METRICS else 1.0


def metric_unit(metric_name: str) -> str:
    """The unit of the shown metric, for headings and axes."""
    return f"{metric_name} (%)" if metric_name in PERCENT_METRICS else metric_name


def digits_of(metric_name: str) -> int:
    """Decimals of a shown metric."""
    return 2 if metric_name in PERCENT_METRICS else 4


def number_with_spread(stat: Stat, digits: int) -> str:
    """Mean and half of its 95% interval over runs; of one run its value alone."""
    if stat.mean is None:
        return NOT_MEASURED
    mean = f"{stat.mean:.{digits}f}"
    half = stat.half_width_95
    return mean if half is None else f"{mean} \u00b1 {half:.{digits}f}"


def with_n(text: str, stat: Stat) -> str:
    """A number's text with how many runs stand behind it."""
    return f"{text} (n={stat.n})"


def interval(ends: tuple[float, float], digits: int) -> str:
    """Both ends of an interval of differences, signed."""
    return f"[{ends[0]:+.{digits}f}, {ends[1]:+.{digits}f}]"


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


def metric_cell(row: Row, *, is_short: bool = False) -> Cell:
    """The metric's mean, its 95% interval and the number of runs; short: without the number."""
    stat = row.metric.scaled(metric_scale(row.metric_name))
    text = number_with_spread(stat, digits_of(row.metric_name))
    return of_stat(row, stat, text if is_short else with_n(text, stat))


def paired_cell(row: Row) -> Cell:
    """The difference to full fine-tuning over common seeds: bootstrap interval and verdict."""
    if row.is_baseline and row.runs:
        return Cell("baseline")
    if row.versus_baseline is None:
        return missing(row, NO_BASELINE)
    scale = metric_scale(row.metric_name)
    return paired_text_cell(row.versus_baseline, scale, digits_of(row.metric_name))


def paired_text_cell(paired: PairedDifference, scale: float, digits: int) -> Cell:
    """A paired difference in words."""
    stat = paired.differences.scaled(scale)
    if stat.mean is None:
        return Cell("no common seed", is_missing=True)
    if paired.bootstrap_95 is None or paired.p_value is None:
        return Cell(f"{stat.mean:+.{digits}f}: {ONE_PAIR}", stat.mean, stat=stat)
    low, high = paired.bootstrap_95
    ends = interval((scale * low, scale * high), digits)
    p = "p<0.001" if paired.p_value < 1e-3 else f"p={paired.p_value:.3f}"  # noqa: PLR2004
    text = f"{stat.mean:+.{digits}f} {ends}, t: {p}, n={paired.n}: {paired.verdict}"
    return Cell(text, stat.mean, stat=stat)


def mind_cell(row: Row) -> Cell:
    """What to mind before believing the row."""
    return Cell("; ".join(row.marks) or "nothing", len(row.marks))


def baseline_cell(row: Row) -> Cell:
    """The metric relative to full fine-tuning: ratio and difference."""
    if row.is_baseline and row.runs:
        return Cell("baseline", 1.0)
    if row.ratio_to_baseline is None or row.difference_to_baseline is None:
        return missing(row, NO_BASELINE)
    ratio = percent(row.ratio_to_baseline)
    return Cell(f"{ratio} ({points_cell(row).text})", row.ratio_to_baseline)


def points_cell(row: Row) -> Cell:
    """The metric's difference to full fine-tuning alone, where room is short."""
    if row.difference_to_baseline is None or row.is_baseline:
        return baseline_cell(row)
    scale = metric_scale(row.metric_name)
    difference = scale * row.difference_to_baseline
    return Cell(f"{difference:+.{digits_of(row.metric_name)}f}", difference)


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
        return missing(row, NOT_MEASURED if row.has_baseline else NO_BASELINE)
    stat = reached.seconds_with_eval if with_eval else reached.seconds
    if stat.mean is None:
        return Cell(NOT_REACHED, None, is_missing=True)
    some = f" ({stat.n} of {reached.num_runs} runs)" if stat.n < reached.num_runs else ""
    text = _charged(row, stat.mean) + some
    return Cell(text, stat.mean, stat=stat, spread=spread_of(stat, duration))


def first_reached_cell(row: Row) -> Cell:
    """When 97% of the baseline's metric came first, whatever the density, and how dense it was."""
    reached = row.time_to_target
    if reached is None:
        return missing(row, NOT_MEASURED if row.has_baseline else NO_BASELINE)
    seconds, density = reached.first_seconds.mean, reached.first_density.mean
    if seconds is None or density is None:
        return Cell(NOT_REACHED, None, is_missing=True)
    at_target = reached.num_at_target_density
    where = "at the target" if at_target == reached.first_seconds.n else "above the target"
    if 0 < at_target < reached.first_seconds.n:
        where = f"at the target in {at_target} of {reached.first_seconds.n} runs"
    text = f"{duration(seconds)}, density {percent(density)}, {where}"
    return Cell(text, seconds, stat=reached.first_seconds)


def teacher_cell(row: Row) -> Cell:
    """The time of the teacher's training that is charged to the row."""
    if row.runs and row.teacher_time_s.mean is None:
        return Cell("no outside teacher", 0.0)
    return measured_cell(lambda row: row.teacher_time_s, duration)(row)


def train_time_cell(row: Row) -> Cell:
    """The mean training time; says so where it includes that of a teacher."""
    fill = measured_cell(lambda row: row.train_time_s, duration)
    mean = row.train_time_s.mean
    return fill(row) if mean is None else replace(fill(row), text=_charged(row, mean))


def _charged(row: Row, seconds: float) -> str:
    return duration(seconds) + (" with teacher" if row.teacher_time_s.n else "")


def speedups_cell(row: Row, batch_sizes: Sequence[int]) -> Cell:
    """The mean speed-ups at several batch sizes in one cell."""
    stats = [inference_of(size, lambda stat: stat.speedup)(row) for size in batch_sizes]
    means = [stat.mean for stat in stats if stat.mean is not None]
    if not means:
        return missing(row, NOT_MEASURED)
    return Cell(" ".join(times(mean) for mean in means), means[0])


def mean_cell(read: Callable[[Row], Stat], show: Callable[[float], str]) -> Callable[[Row], Cell]:
    """A column filler that shows the mean of a statistic."""

    def fill(row: Row) -> Cell:
        stat = read(row)
        return of_stat(row, stat, "" if stat.mean is None else show(stat.mean))

    return fill


def measured_cell(
    read: Callable[[Row], Stat], show: Callable[[float], str]
) -> Callable[[Row], Cell]:
    """The same with the 95% interval over runs: for what no two runs measure alike."""
    fill = mean_cell(read, show)
    return lambda row: replace(fill(row), spread=spread_of(read(row), show))


def spread_of(stat: Stat, show: Callable[[float], str]) -> str:
    """Half of the 95% interval in words; empty for fewer than two values."""
    half = stat.half_width_95
    return "" if half is None else show(half)


def of_stat(row: Row, stat: Stat, text: str) -> Cell:
    """A cell for a statistic over the row's runs."""
    if stat.mean is None:
        return missing(row, NOT_MEASURED)
    return Cell(text, stat.mean, stat=stat)


def linked(row: Row, cell: Cell) -> Cell:
    """The cell with the runs behind it, and where the commands stand that rerun them."""
    return replace(cell, run_ids=row.run_ids, anchor=row.anchor)


def missing(row: Row, why: str) -> Cell:
    """A cell without a number: the trials' state when there is no run, else `why`."""
    return Cell(why if row.runs else row.state, None, is_missing=True)


def inference_of(size: int, read: Callable[[InferenceStat], Stat]) -> Callable[[Row], Stat]:
    """A reader of one inference quantity at one batch size."""
    return lambda row: read(row.inference[size]) if size in row.inference else Stat()


def times(value: float) -> str:
    """A factor."""
    return f"{value:.2f}x"

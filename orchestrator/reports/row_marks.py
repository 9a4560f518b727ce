"""What weakens a row, in a few words each, so that no number stands without its caveat (PURE)."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain

from apt_core.data.tasks import HOLDOUT
from orchestrator.reports.records import Settings
from orchestrator.reports.rows import Row
from orchestrator.reports.settings import flatten, text_of
from orchestrator.reports.stat import MIN_SEEDS_FOR_SPREAD

HARDWARE = ("device", "cpu_count", "num_threads", "num_workers")
"""What a run's environment tells of its machine."""
NO_BASELINE_MARK = "no baseline"
MIXED_HARDWARE_MARK = "mixed hardware: "
OTHER_HARDWARE_MARK = "hardware unlike the baseline's: "
MIXED_MODES_MARK = "mixed modes: this row is "
CHOSEN_MARK = "weights or teacher chosen on the reported rows"
_SEEDS_IN_WORDS = {1: "one seed", 2: "two seeds"}
_CHOOSERS = ("training.choose_best", "distillation.refresh_teacher")


def mark_rows(rows: Sequence[Row], settings: Mapping[str, Settings]) -> tuple[Row, ...]:
    """Give every row of a table its marks.

    Args:
        rows: The rows, compared to their baselines.
        settings: run_id -> its resolved config.

    Returns:
        The rows with `Row.marks`.
    """
    modes = [_mode(row, settings) for row in rows]
    is_mixed = len(set(filter(None, modes))) > 1
    baseline = _machines(row for row in rows if row.is_baseline)
    marked = []
    for row, mode in zip(rows, modes, strict=True):
        marks = [
            *_seeds(row),
            *_trials(row),
            *_no_baseline(row),
            *_hardware(row, baseline),
            *([f"{MIXED_MODES_MARK}{mode}"] if is_mixed and mode else []),
            *_slower_than_dense(row),
            *_chosen_on_reported_rows(row, settings),
        ]
        marked.append(replace(row, marks=tuple(marks)))
    return tuple(marked)


def marks_of_number(row: Row, *, is_measured: bool) -> tuple[str, ...]:
    """The marks that weaken a single number of a row, where it stands in another table.

    Args:
        row: The row, marked.
        is_measured: Whether the number depends on the machine, as times and memory do.

    Returns:
        Missing trials, mixed modes, and, of a measured number, mixed machines. How many seeds
        there are and that there is no baseline, every number says by itself.
    """
    hardware = (MIXED_HARDWARE_MARK, OTHER_HARDWARE_MARK) if is_measured else ()
    begins = (MIXED_MODES_MARK, CHOSEN_MARK, *hardware)
    found = [mark for mark in row.marks if mark.startswith(begins)]
    return (*_trials(row), *found)


def _seeds(row: Row) -> list[str]:
    num_seeds = len(row.metric_by_seed)
    return [_SEEDS_IN_WORDS[num_seeds]] if 0 < num_seeds < MIN_SEEDS_FOR_SPREAD else []


def _trials(row: Row) -> list[str]:
    counts = Counter(trial.state for trial in row.unfinished)
    return [f"{count} {state}" for state, count in sorted(counts.items())]


def _no_baseline(row: Row) -> list[str]:
    return [NO_BASELINE_MARK] if row.runs and not row.has_baseline else []


def _machines(rows: Iterable[Row]) -> dict[str, set[str]]:
    """What the runs of some rows tell of their machines: key -> values."""
    values: dict[str, set[str]] = {}
    for run in chain.from_iterable(row.runs for row in rows):
        for key, value in flatten(run.environment).items():
            if key in HARDWARE:
                values.setdefault(key, set()).add(text_of(value))
    return values


def _hardware(row: Row, baseline: Mapping[str, set[str]]) -> list[str]:
    own = _machines([row])
    mixed = [key for key, values in own.items() if len(values) > 1]
    other = [key for key, values in own.items() if values != baseline.get(key, values)]
    marks = [f"{MIXED_HARDWARE_MARK}{', '.join(mixed)}"] if mixed else []
    if not row.is_baseline and other and not mixed:
        marks.append(f"{OTHER_HARDWARE_MARK}{', '.join(other)}")
    return marks


def _mode(row: Row, settings: Mapping[str, Settings]) -> str:
    known = [settings[run_id] for run_id in row.run_ids if run_id in settings]
    return " and ".join(sorted({str(own.get("mode", "paper")) for own in known}))


def _slower_than_dense(row: Row) -> list[str]:
    if row.key.target_sparsity <= 0:
        return []
    means = {size: stat.speedup.mean for size, stat in row.inference.items()}
    slow = [str(size) for size, mean in means.items() if mean is not None and mean <= 1]
    return [f"slower than dense at batch {', '.join(slow)}"] if slow else []


def _chosen_on_reported_rows(row: Row, settings: Mapping[str, Settings]) -> list[str]:
    """The configuration refuses this now; records of other versions may still have it."""
    known = [settings[run_id] for run_id in row.run_ids if run_id in settings]
    return (
        [CHOSEN_MARK]
        if any(_chooses_on_reported_rows(own, row.metric_name) for own in known)
        else []
    )


def _chooses_on_reported_rows(own: Settings, metric_name: str) -> bool:
    if not any(own.get(path) for path in _CHOOSERS):
        return False
    split = own.get(f"data.datasets.{own.get('data.dataset')}.eval_split")
    reports_held_out = split == HOLDOUT and metric_name != "lm_eval"
    return own.get("data.holdout_rows") == 0 or reports_held_out

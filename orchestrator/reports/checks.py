"""What a reader must know before believing a table (PURE): sentences, none when all is well."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean

from apt_core.report import RunReport
from orchestrator.reports.records import SweepRecords
from orchestrator.reports.row_marks import CHOSEN_MARK, MIXED_MODES_MARK
from orchestrator.reports.rows import Row, TaskTable, label_of
from orchestrator.reports.settings import flatten, text_of
from orchestrator.reports.stat import MIN_SEEDS_FOR_SPREAD
from orchestrator.reports.tables import SPARSITY_TOLERANCE

_MAX_NAMED = 6
_NOT_THE_MACHINE = frozenset(
    {"pid", "run_dir", "output_dir", "time", "started", "finished", "started_at", "finished_at"}
)


def find_warnings(records: SweepRecords, tables: Sequence[TaskTable]) -> tuple[str, ...]:
    """All warnings about a sweep.

    Args:
        records: What the sweep's folder holds.
        tables: Its tables.

    Returns:
        Sentences, the gravest first: missing results, what does not compare, weak evidence.
    """
    found = [*_unfinished(records), *records.warnings, *_official(records)]
    for table in tables:
        about = f"{table.title}: " if len(tables) > 1 else ""
        found += [f"{about}{text}" for text in _warnings_of(table)]
    return tuple(found + _warnings_of_runs(records.reports))


def _warnings_of(table: TaskTable) -> list[str]:
    return [
        *_no_baseline(table),
        *_differing_environment(table),
        *_mixed_modes(table),
        *_chosen_on_reported_rows(table),
        *_missed_sparsity(table),
        *_slower_than_dense(table),
        *_repeated_seeds(table),
        *_few_seeds(table),
    ]


def _named(names: Iterable[str]) -> str:
    """A list in words, cut where it gets long."""
    names = list(names)
    rest = len(names) - _MAX_NAMED
    return ", ".join(names[:_MAX_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _unfinished(records: SweepRecords) -> list[str]:
    if not records.unfinished:
        return [] if records.reports else ["No trial has been started."]
    states = Counter(trial.state for trial in records.unfinished)
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    return [
        f"{len(records.unfinished)} of {records.num_trials} trials have no result ({counts}); "
        "their rows say so. Starting the sweep again continues them and skips the finished ones."
    ]


def _no_baseline(table: TaskTable) -> list[str]:
    finished = [row for row in table.rows if row.runs]
    lonely = [label_of(row.key) for row in finished if not row.has_baseline]
    if not lonely:
        return []
    if not any(row.is_baseline for row in finished):
        return [
            "No finished full fine-tuning run (arm ft): nothing can be given relative to it, "
            "nor the time to 97% of its metric."
        ]
    return [f"Several full fine-tuning cells, and none fits alone: {_named(lonely)} not compared."]


def _differing_environment(table: TaskTable) -> list[str]:
    """Differences of machine, precision, engine or versions between the runs of a table."""
    values: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in table.rows:
        for run in row.runs:
            for key, value in flatten(run.environment).items():
                if key.rsplit(".", 1)[-1] not in _NOT_THE_MACHINE:
                    values[key][text_of(value)].append(label_of(row.key))
    return [
        f"{key} differs between runs, so their times and memory do not compare: "
        + "; ".join(
            f"{value} ({_named(dict.fromkeys(cells))})" for value, cells in of_value.items()
        )
        + "."
        for key, of_value in sorted(values.items())
        if len(of_value) > 1
    ]


def _mixed_modes(table: TaskTable) -> list[str]:
    """Runs of the paper's mode beside runs of the authors' code."""
    texts = [
        f"{label_of(row.key)} ({mark.removeprefix(MIXED_MODES_MARK)})"
        for row in table.rows
        for mark in row.marks
        if mark.startswith(MIXED_MODES_MARK)
    ]
    what = "Modes differ between rows, so differences are of settings too"
    return [f"{what}: {_named(texts)}."] if texts else []


def _official(records: SweepRecords) -> list[str]:
    """The authors' code is not the paper: who compares numbers has to know."""
    official = sum(own.get("mode") == "official" for own in records.settings.values())
    if not official:
        return []
    which = "All" if official == len(records.settings) else f"{official} of them"
    return [
        f"Trials in mode official: {which}. They follow the authors' code where it differs from "
        "the paper, so they do not compare to runs in mode paper."
    ]


def _chosen_on_reported_rows(table: TaskTable) -> list[str]:
    rows = [label_of(row.key) for row in table.rows if CHOSEN_MARK in row.marks]
    what = "Weights or teachers were chosen on the rows that are reported, so scores are too good"
    return [f"{what}: {_named(rows)}."] if rows else []


def _missed_sparsity(table: TaskTable) -> list[str]:
    missed = [row for row in table.rows if row.runs and _worst_miss(row) > SPARSITY_TOLERANCE]
    texts = (
        f"{label_of(row.key)} reached {100 * fmean(_reached(row)):.1f}% on average"
        for row in missed
    )
    return [f"Target sparsity missed by more than 1 point: {_named(texts)}."] if missed else []


def _worst_miss(row: Row) -> float:
    return max(abs(value - row.key.target_sparsity) for value in _reached(row))


def _reached(row: Row) -> list[float]:
    """What was removed of that which the target counts, by run."""
    return [run.cost_sparsity for run in row.runs]


def _slower_than_dense(table: TaskTable) -> list[str]:
    texts = [
        f"{label_of(row.key)} ({stat.speedup.mean:.2f}x at batch size {size})"
        for row in table.rows
        for size, stat in row.inference.items()
        if row.key.target_sparsity > 0 and stat.speedup.mean is not None and stat.speedup.mean <= 1
    ]
    return [f"Pruned, but not faster than the dense model: {_named(texts)}."] if texts else []


def _repeated_seeds(table: TaskTable) -> list[str]:
    texts = [
        f"{label_of(row.key)} seed {seed}"
        for row in table.rows
        for seed, count in Counter(run.seed for run in row.runs).items()
        if count > 1
    ]
    return [f"Counted more than once with the same seed: {_named(texts)}."] if texts else []


def _few_seeds(table: TaskTable) -> list[str]:
    few = [f"{label_of(row.key)} (n={row.metric.n})" for row in table.rows if _has_few_seeds(row)]
    what = f"Fewer than {MIN_SEEDS_FOR_SPREAD} seeds, so the seeds say little about noise"
    return [f"{what}: {_named(few)}."] if few else []


def _has_few_seeds(row: Row) -> bool:
    return 0 < row.metric.n < MIN_SEEDS_FOR_SPREAD


def _warnings_of_runs(reports: Sequence[RunReport]) -> list[str]:
    """What the runs themselves warned about, once per text."""
    by_text: dict[str, list[str]] = defaultdict(list)
    for report in reports:
        for text in report.warnings:
            by_text[text].append(report.run_id)
    return [f"{text} (runs: {_named(run_ids)})" for text, run_ids in by_text.items()]

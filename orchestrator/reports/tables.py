"""Run reports to table rows: one row per cell, over its seeds, relative to FT (PURE)."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from apt_core.evaluator.time_to_accuracy import TimeToAccuracy, accuracy_target, time_to_accuracy
from apt_core.report import PARAMETERS, InferencePoint, RunReport
from orchestrator.reports.paired import compare_paired
from orchestrator.reports.records import (
    CellKey,
    Settings,
    SweepRecords,
    UnfinishedTrial,
    cell_of_report,
)
from orchestrator.reports.row_marks import mark_rows
from orchestrator.reports.rows import (
    InferenceStat,
    Row,
    TaskTable,
    TimeToTarget,
    name_variants,
    order_of,
)
from orchestrator.reports.search import CellTrials, Tries, fold_tries, searched_paths
from orchestrator.reports.settings import text_of, variant_keys
from orchestrator.reports.stat import Stat

BASELINE_ARM = "ft"
LORA_ARM = "lora"
TARGET_FRACTION = 0.97
"""Time to accuracy is the time until this fraction of the baseline's best metric."""
SPARSITY_TOLERANCE = 0.01
"""A sparsity within one point of its target counts as reached."""


def build_tables(records: SweepRecords) -> tuple[TaskTable, ...]:
    """Group a sweep's trials into rows, and the rows by (model, dataset).

    Args:
        records: What the sweep's folder holds.

    Returns:
        One table per (model, dataset); rows ordered ft, lora, apt by sparsity, ablations. Cells
        without a finished run are rows too.
    """
    rows_by_task: dict[tuple[str, str], list[Row]] = defaultdict(list)
    cells, tries = fold_tries(_cells(records), searched_paths(records.settings.values()))
    for task in sorted({(key.model, key.dataset) for key in cells}):
        keys = name_variants(key for key in cells if (key.model, key.dataset) == task)
        rows_by_task[task] = [
            _row(named, *cells[key], tries.get(key, Tries())) for key, named in keys.items()
        ]
    return tuple(
        _task_table(model, dataset, mark_rows(_compare(rows), records.settings))
        for (model, dataset), rows in sorted(rows_by_task.items())
    )


def _cells(records: SweepRecords) -> dict[CellKey, CellTrials]:
    """Trials by cell; one whose runs differ in more than the seed is split by those settings."""
    trials: dict[CellKey, list[RunReport | UnfinishedTrial]] = defaultdict(list)
    for report in records.reports:
        trials[cell_of_report(report)].append(report)
    for trial in records.unfinished:
        if trial.cell is not None:
            trials[trial.cell].append(trial)
    cells: dict[CellKey, CellTrials] = defaultdict(lambda: ([], []))
    for key, members in trials.items():
        known = [records.settings[m.run_id] for m in members if m.run_id in records.settings]
        split_by = variant_keys(known)
        for member in members:
            own = replace(key, variant=_variant(records.settings.get(member.run_id), split_by))
            runs, unfinished = cells[own]
            runs.append(member) if isinstance(member, RunReport) else unfinished.append(member)
    return cells


def _variant(settings: Settings | None, split_by: Iterable[str]) -> tuple[tuple[str, str], ...]:
    if settings is None:
        return tuple((key, "unknown") for key in split_by)
    return tuple((key, text_of(settings.get(key))) for key in split_by)


def _row(
    key: CellKey,
    runs: Sequence[RunReport],
    unfinished: Sequence[UnfinishedTrial],
    tries: Tries,
) -> Row:
    """The row of one cell, not yet compared to its baseline."""
    runs = sorted(runs, key=lambda run: (run.seed, run.run_id))

    def over(read: Callable[[RunReport], float | None]) -> Stat:
        return Stat.of(read(run) for run in runs)

    return Row(
        key=key,
        metric_name=runs[0].metric_name if runs else "",
        runs=tuple(runs),
        unfinished=tuple(sorted(unfinished, key=lambda trial: (trial.seed or 0, trial.run_id))),
        metric=over(lambda run: run.metric),
        sparsity=over(lambda run: run.sparsity),
        num_layer_params=over(lambda run: run.efficiency.num_layer_params),
        num_total_params=over(lambda run: run.efficiency.num_total_params),
        num_trainable_params_peak=over(lambda run: run.efficiency.num_trainable_params_peak),
        macs_per_sample=over(lambda run: run.efficiency.macs_per_sample),
        train_time_s=over(lambda run: run.train_time_s + run.teacher_time_s),
        teacher_time_s=over(lambda run: run.teacher_time_s or None),
        eval_time_s=over(lambda run: run.eval_time_s),
        peak_train_memory_gib=over(lambda run: run.efficiency.peak_train_memory_gib),
        peak_memory_by_phase_gib=_phase_memory(runs),
        step_time_ratio=over(_step_time_ratio),
        inference=_inference(runs),
        searched=tries.chosen,
        num_tries=tries.number,
        is_baseline=key.arm == BASELINE_ARM,
    )


def _step_time_ratio(run: RunReport) -> float | None:
    first, last = run.step_time_s.get("tuning"), run.step_time_s.get("retraining")
    return last / first if first and last else None


def _phase_memory(runs: Iterable[RunReport]) -> dict[str, Stat]:
    """Phase -> peak training memory; reports from before it was measured have none."""
    peaks: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        for phase, gib in run.peak_memory_by_phase_gib.items():
            peaks[phase].append(gib)
    return {phase: Stat.of(values) for phase, values in peaks.items()}


def _inference(runs: Iterable[RunReport]) -> dict[int, InferenceStat]:
    points: dict[int, list[InferencePoint]] = defaultdict(list)
    for run in runs:
        for point in run.efficiency.inference:
            points[point.batch_size].append(point)
    return {size: _inference_stat(points[size]) for size in sorted(points)}


def _inference_stat(points: Sequence[InferencePoint]) -> InferenceStat:
    return InferenceStat(
        latency_ms=Stat.of(p.latency_ms for p in points),
        throughput_samples_per_s=Stat.of(p.throughput_samples_per_s for p in points),
        speedup=Stat.of(p.speedup if p.latency_ms > 0 else None for p in points),
        peak_memory_gib=Stat.of(p.peak_memory_gib for p in points),
    )


def _task_table(model: str, dataset: str, rows: Sequence[Row]) -> TaskTable:
    ordered = sorted(rows, key=lambda row: order_of(row.key))
    targets = tuple(sorted({target_metric(row) for row in baselines_of(rows)}))
    return TaskTable(model, dataset, tuple(ordered), targets)


def baselines_of(rows: Iterable[Row]) -> list[Row]:
    """The rows of full fine-tuning that have a result."""
    return [row for row in rows if row.is_baseline and row.metric.n]


def _compare(rows: Sequence[Row]) -> list[Row]:
    """The rows with what is measured relative to full fine-tuning and LoRA."""
    baselines = baselines_of(rows)
    loras = [row for row in rows if row.key.arm == LORA_ARM and row.key.is_full and row.runs]
    return [
        replace(
            _compared(row, baseline_of(row.key, baselines)),
            memory_vs_ft=_memory_over(row, baseline_of(row.key, baselines)),
            memory_vs_lora=_memory_over(row, baseline_of(row.key, loras)),
        )
        for row in rows
    ]


def baseline_of(key: CellKey, baselines: Sequence[Row]) -> Row | None:
    """The full fine-tuning cell that a cell is compared to; None when no single one fits.

    Several baseline cells differ in some settings; the one that agrees on these is taken.
    """
    if len(baselines) == 1:
        return baselines[0]
    own = dict(key.variant)
    fitting = [
        row for row in baselines if all(own.get(name) == value for name, value in row.key.variant)
    ]
    return fitting[0] if len(fitting) == 1 else None


def target_metric(baseline: Row) -> float:
    """`TARGET_FRACTION` of the best metric of the baseline's runs, averaged over its seeds."""
    targets = Stat.of(
        accuracy_target(run.history, TARGET_FRACTION) or TARGET_FRACTION * run.metric
        for run in baseline.runs
    )
    assert targets.mean is not None, "a baseline has at least one finished run"
    return targets.mean


def _memory_over(row: Row, reference: Row | None) -> Stat:
    mean = reference.peak_train_memory_gib.mean if reference else None
    return row.peak_train_memory_gib.scaled(1 / mean) if mean else Stat()


def _compared(row: Row, baseline: Row | None) -> Row:
    """The row with what is measured relative to its baseline."""
    if baseline is None or baseline.metric.mean is None or row.metric.mean is None:
        return row
    mean, reference = row.metric.mean, baseline.metric.mean
    return replace(
        row,
        has_baseline=True,
        ratio_to_baseline=mean / reference if reference else None,
        difference_to_baseline=mean - reference,
        versus_baseline=compare_paired(row.metric_by_seed, baseline.metric_by_seed),
        time_to_target=_time_to_target(row, target_metric(baseline)),
    )


def _time_to_target(row: Row, target: float) -> TimeToTarget | None:
    """None when no run of the row kept its evaluations."""
    runs = [run for run in row.runs if run.history]
    if not runs:
        return None
    reached = _when_reached(runs, target, lambda run: _final_sparsity(run, row.key))
    first = _when_reached(runs, target, lambda run: None)
    sparsities = [
        (run, next(p.sparsity for p in run.history if p.step == point.step)) for run, point in first
    ]
    return TimeToTarget(
        seconds=Stat.of(run.teacher_time_s + p.train_time_s for run, p in reached),
        seconds_with_eval=Stat.of(run.teacher_time_s + p.total_time_s for run, p in reached),
        num_runs=len(runs),
        first_seconds=Stat.of(run.teacher_time_s + p.train_time_s for run, p in first),
        first_density=Stat.of(1.0 - sparsity for _, sparsity in sparsities),
        num_at_target_density=sum(
            sparsity >= _final_sparsity(run, row.key) - SPARSITY_TOLERANCE
            for run, sparsity in sparsities
        ),
    )


def _when_reached(
    runs: Iterable[RunReport],
    target: float,
    sparsity_of: Callable[[RunReport], float | None],
) -> list[tuple[RunReport, TimeToAccuracy]]:
    """Each run that got to the target metric, at its sparsity or, where that is None, at any."""
    found = [
        (
            run,
            time_to_accuracy(
                run.history, target, sparsity_target=sparsity_of(run), tolerance=SPARSITY_TOLERANCE
            ),
        )
        for run in runs
    ]
    return [(run, point) for run, point in found if point]


def _final_sparsity(run: RunReport, key: CellKey) -> float:
    """The parameter sparsity of the finished model: under another constraint what it came to be."""
    return key.target_sparsity if run.cost_unit == PARAMETERS else run.sparsity

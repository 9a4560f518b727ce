"""Every finished run as one line of a CSV and of a Parquet file: what the means are made of."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from apt_core.report import RunReport
from orchestrator.reports.flat_lines import NA, Line, cell_fields, or_na, write_lines
from orchestrator.reports.rows import Row, TaskTable
from orchestrator.reports.tables import baseline_of, baselines_of


def write_runs(csv_path: Path, parquet_path: Path, tables: Sequence[TaskTable]) -> None:
    """Write one line per run, in base units; `_vs_ft` is over full fine-tuning of the same seed.

    Args:
        csv_path: See `write_lines`.
        parquet_path: Likewise.
        tables: The tables; of a search, the runs that it chose.
    """
    runs = [run for table in tables for row in table.rows for run in row.runs]
    sizes = sorted({point.batch_size for run in runs for point in run.efficiency.inference})
    phases = _phases(runs)
    write_lines(
        csv_path,
        parquet_path,
        [
            {
                **cell_fields(row.key),
                "seed": run.seed,
                "run_id": run.run_id,
                **_result(run, ft),
                **_cost(run, ft, phases),
                **_speed(run, sizes),
            }
            for row, run, ft in _beside_baseline(tables)
        ],
    )


def _phases(runs: Iterable[RunReport]) -> list[str]:
    """Phases that any run went through, by their names."""
    return sorted({p for run in runs for p in (*run.step_time_s, *run.peak_memory_by_phase_gib)})


def _beside_baseline(
    tables: Iterable[TaskTable],
) -> Iterator[tuple[Row, RunReport, RunReport | None]]:
    """Each run with the one of full fine-tuning that has its seed, if there is just one."""
    for table in tables:
        baselines = baselines_of(table.rows)
        for row in table.rows:
            baseline = baseline_of(row.key, baselines)
            for run in row.runs:
                same = [ft for ft in baseline.runs if ft.seed == run.seed] if baseline else []
                yield row, run, same[0] if len(same) == 1 else None


def _result(run: RunReport, ft: RunReport | None) -> Line:
    return {
        "metric_name": run.metric_name,
        "metric": run.metric,
        "difference_to_ft": or_na(ft and run.metric - ft.metric),
        "held_out_metric": or_na(run.held_out_metric),
        "sparsity": run.sparsity,
        "cost_unit": run.cost_unit,
        "cost_sparsity": run.cost_sparsity,
        "layer_params": run.efficiency.num_layer_params,
        "total_params": run.efficiency.num_total_params,
        "trainable_params_peak": run.efficiency.num_trainable_params_peak,
        "macs_per_sample": run.efficiency.macs_per_sample,
    }


def _cost(run: RunReport, ft: RunReport | None, phases: Sequence[str]) -> Line:
    peak = run.efficiency.peak_train_memory_gib
    memory = run.peak_memory_by_phase_gib
    return {
        "steps": run.total_steps,
        "train_time_s": _train_time(run),
        "teacher_time_s": run.teacher_time_s,
        "eval_time_s": run.eval_time_s,
        "train_time_vs_ft": _ratio(_train_time(run), _train_time(ft) if ft else None),
        "peak_train_memory_gib": peak,
        "memory_vs_ft": _ratio(peak, ft.efficiency.peak_train_memory_gib if ft else None),
        **{f"step_time_{phase}_s": or_na(run.step_time_s.get(phase)) for phase in phases},
        **{f"peak_memory_{phase}_gib": or_na(memory.get(phase)) for phase in phases},
    }


def _train_time(run: RunReport) -> float:
    """In seconds; the teacher's included, where another run has trained it."""
    return run.train_time_s + run.teacher_time_s


def _ratio(value: float, reference: float | None) -> object:
    return value / reference if reference else NA


def _speed(run: RunReport, sizes: Sequence[int]) -> Line:
    points = {point.batch_size: point for point in run.efficiency.inference}
    line: dict[str, object] = {}
    for size in sizes:
        point = points.get(size)
        has_time = point is not None and point.latency_ms > 0
        line[f"latency_ms_batch_{size}"] = or_na(point and point.latency_ms)
        line[f"dense_latency_ms_batch_{size}"] = or_na(point and point.dense_latency_ms)
        line[f"speedup_batch_{size}"] = or_na(point.speedup if point and has_time else None)
    return line

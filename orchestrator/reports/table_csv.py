"""The rows of a grid as CSV and Parquet of raw numbers."""

from collections.abc import Sequence
from pathlib import Path

from orchestrator.reports.flat_lines import NA, cell_fields, or_na, write_lines
from orchestrator.reports.rows import Row, TaskTable
from orchestrator.reports.stat import NOTHING, Stat
from orchestrator.reports.wording import NOT_REACHED


def write_table(csv_path: Path, parquet_path: Path, tables: Sequence[TaskTable]) -> None:
    """Write one line per cell, in base units; where there is no number, `state` says why.

    Args:
        csv_path: See `write_lines`.
        parquet_path: Likewise.
        tables: The tables; their lines follow each other.
    """
    write_lines(csv_path, parquet_path, _lines(tables))


def _lines(tables: Sequence[TaskTable]) -> list[dict[str, object]]:
    sizes = sorted({size for table in tables for size in table.batch_sizes})
    phases = sorted({p for t in tables for row in t.rows for p in row.peak_memory_by_phase_gib})
    return [_line(row, sizes, phases) for table in tables for row in table.rows]


def _line(row: Row, sizes: Sequence[int], phases: Sequence[str]) -> dict[str, object]:
    return {
        **cell_fields(row.key),
        "searched": " ".join(f"{name}={value}" for name, value in row.searched) or NA,
        "tries": row.num_tries,
        "state": row.state,
        "trials": row.num_trials,
        "runs": len(row.runs),
        "seeds": " ".join(str(run.seed) for run in row.runs) or NA,
        "unfinished": "; ".join(f"{t.run_id}: {t.state}: {t.reason}" for t in row.unfinished) or NA,
        "run_ids": " ".join(row.run_ids) or NA,
        "commands": "\n".join(run.command for run in row.runs if run.command) or NA,
        "mind": "; ".join(row.marks) or NA,
        "metric_name": row.metric_name or NA,
        **_spread("metric", row.metric),
        **_spread("sparsity", row.sparsity),
        "density_mean": or_na(row.density.mean),
        "ratio_to_ft": or_na(row.ratio_to_baseline),
        "difference_to_ft": or_na(row.difference_to_baseline),
        **_paired(row),
        "layer_params_mean": or_na(row.num_layer_params.mean),
        "total_params_mean": or_na(row.num_total_params.mean),
        "trainable_params_peak_mean": or_na(row.num_trainable_params_peak.mean),
        "macs_per_sample_mean": or_na(row.macs_per_sample.mean),
        **_spread("train_time_s", row.train_time_s),
        "teacher_time_s_mean": or_na(row.teacher_time_s.mean),
        "eval_time_s_mean": or_na(row.eval_time_s.mean),
        **_time_to_target(row),
        **_spread("peak_train_memory_gib", row.peak_train_memory_gib),
        **{f"peak_memory_{phase}_gib_mean": or_na(_phase_mean(row, phase)) for phase in phases},
        "memory_vs_ft_mean": or_na(row.memory_vs_ft.mean),
        "memory_vs_lora_mean": or_na(row.memory_vs_lora.mean),
        "step_time_ratio_mean": or_na(row.step_time_ratio.mean),
        **{name: value for size in sizes for name, value in _inference(row, size).items()},
    }


def _phase_mean(row: Row, phase: str) -> float | None:
    return row.peak_memory_by_phase_gib.get(phase, NOTHING).mean


def _paired(row: Row) -> dict[str, object]:
    """The metric against full fine-tuning's, over common seeds."""
    paired = row.versus_baseline
    low, high = (paired.bootstrap_95 if paired else None) or (None, None)
    return {
        "paired_difference_to_ft_mean": or_na(paired.differences.mean if paired else None),
        "paired_difference_to_ft_low_95": or_na(low),
        "paired_difference_to_ft_high_95": or_na(high),
        "paired_t_p_value": or_na(paired.p_value if paired else None),
        "paired_n": paired.n if paired else NA,
        "paired_verdict": paired.verdict if paired else NA,
    }


def _spread(name: str, stat: Stat) -> dict[str, object]:
    low, high = stat.min_max or (None, None)
    low_95, high_95 = stat.interval_95 or (None, None)
    return {
        f"{name}_n": stat.n,
        f"{name}_mean": or_na(stat.mean),
        f"{name}_low_95": or_na(low_95),
        f"{name}_high_95": or_na(high_95),
        f"{name}_std": or_na(stat.std),
        f"{name}_min": or_na(low),
        f"{name}_max": or_na(high),
    }


def _time_to_target(row: Row) -> dict[str, object]:
    reached = row.time_to_target
    without, with_eval = (
        (reached.seconds.mean, reached.seconds_with_eval.mean) if reached else (None, None)
    )
    missing = NOT_REACHED if reached else NA
    return {
        "time_to_97_percent_of_ft_s_mean": missing if without is None else without,
        "time_to_97_percent_of_ft_with_eval_s_mean": missing if with_eval is None else with_eval,
        "runs_that_reached_97_percent_of_ft": reached.num_reached if reached else NA,
        "first_at_97_percent_of_ft_s_mean": or_na(reached.first_seconds.mean if reached else None),
        "density_at_first_97_percent_mean": or_na(reached.first_density.mean if reached else None),
    }


def _inference(row: Row, size: int) -> dict[str, object]:
    stat = row.inference.get(size)
    return {
        f"latency_ms_batch_{size}_mean": or_na(stat.latency_ms.mean if stat else None),
        f"throughput_samples_per_s_batch_{size}_mean": or_na(
            stat.throughput_samples_per_s.mean if stat else None
        ),
        f"speedup_batch_{size}_mean": or_na(stat.speedup.mean if stat else None),
        f"inference_memory_gib_batch_{size}_mean": or_na(
            stat.peak_memory_gib.mean if stat else None
        ),
    }

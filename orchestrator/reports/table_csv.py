"""The tables as one CSV file of raw numbers, for spreadsheets and data frames."""

import csv
from collections.abc import Sequence
from pathlib import Path

from orchestrator.reports.rows import Row, TaskTable, label_of
from orchestrator.reports.settings import text_of
from orchestrator.reports.stat import Stat
from orchestrator.reports.wording import NOT_REACHED

NA = "NA"
"""What stands where there is no number."""


def write_table_csv(path: Path, tables: Sequence[TaskTable]) -> None:
    """Write one line per cell: numbers unrounded, in base units, `NA` where nothing was measured.

    Args:
        path: The file to write.
        tables: The tables; their lines follow each other.
    """
    sizes = sorted({size for table in tables for size in table.batch_sizes})
    lines = [_line(row, sizes) for table in tables for row in table.rows]
    with path.open("w", encoding="utf-8", newline="") as out:
        if lines:
            writer = csv.DictWriter(out, list(lines[0]))
            writer.writeheader()
            writer.writerows(lines)


def _line(row: Row, sizes: Sequence[int]) -> dict[str, object]:
    key = row.key
    return {
        "model": key.model,
        "dataset": key.dataset,
        "row": label_of(key),
        "arm": key.arm,
        "ablation": key.ablation,
        "target_sparsity": key.target_sparsity,
        "variant": " ".join(f"{name}={text_of(value)}" for name, value in key.variant) or NA,
        "searched": " ".join(f"{name}={value}" for name, value in row.searched) or NA,
        "tries": row.num_tries,
        "state": row.state,
        "trials": row.num_trials,
        "runs": len(row.runs),
        "seeds": " ".join(str(run.seed) for run in row.runs) or NA,
        "unfinished": "; ".join(f"{t.run_id}: {t.state}: {t.reason}" for t in row.unfinished) or NA,
        "metric_name": row.metric_name or NA,
        **_spread("metric", row.metric),
        **_spread("sparsity", row.sparsity),
        "density_mean": _or_na(row.density.mean),
        "ratio_to_ft": _or_na(row.ratio_to_baseline),
        "difference_to_ft": _or_na(row.difference_to_baseline),
        "layer_params_mean": _or_na(row.num_layer_params.mean),
        "total_params_mean": _or_na(row.num_total_params.mean),
        "trainable_params_peak_mean": _or_na(row.num_trainable_params_peak.mean),
        "macs_per_sample_mean": _or_na(row.macs_per_sample.mean),
        **_spread("train_time_s", row.train_time_s),
        "teacher_time_s_mean": _or_na(row.teacher_time_s.mean),
        "eval_time_s_mean": _or_na(row.eval_time_s.mean),
        **_time_to_target(row),
        **_spread("peak_train_memory_gib", row.peak_train_memory_gib),
        "step_time_ratio_mean": _or_na(row.step_time_ratio.mean),
        **{name: value for size in sizes for name, value in _inference(row, size).items()},
    }


def _or_na(value: float | None) -> float | str:
    return NA if value is None else value


def _spread(name: str, stat: Stat) -> dict[str, float | str]:
    low, high = stat.min_max or (None, None)
    return {
        f"{name}_mean": _or_na(stat.mean),
        f"{name}_std": _or_na(stat.std),
        f"{name}_min": _or_na(low),
        f"{name}_max": _or_na(high),
    }


def _time_to_target(row: Row) -> dict[str, float | str]:
    reached = row.time_to_target
    without, with_eval = (
        (reached.seconds.mean, reached.seconds_with_eval.mean) if reached else (None, None)
    )
    missing = NOT_REACHED if reached else NA
    return {
        "time_to_97_percent_of_ft_s_mean": missing if without is None else without,
        "time_to_97_percent_of_ft_with_eval_s_mean": missing if with_eval is None else with_eval,
        "runs_that_reached_97_percent_of_ft": reached.num_reached if reached else NA,
    }


def _inference(row: Row, size: int) -> dict[str, float | str]:
    stat = row.inference.get(size)
    return {
        f"latency_ms_batch_{size}_mean": _or_na(stat.latency_ms.mean if stat else None),
        f"throughput_samples_per_s_batch_{size}_mean": _or_na(
            stat.throughput_samples_per_s.mean if stat else None
        ),
        f"speedup_batch_{size}_mean": _or_na(stat.speedup.mean if stat else None),
        f"inference_memory_gib_batch_{size}_mean": _or_na(
            stat.peak_memory_gib.mean if stat else None
        ),
    }

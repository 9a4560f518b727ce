"""Which columns the tables of a sweep have, and what each means (PURE)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestrator.reports import wording
from orchestrator.reports.grid import Cell, Grid, Heading
from orchestrator.reports.rows import Row, TaskTable
from orchestrator.reports.stat import NOTHING
from orchestrator.reports.wording import (
    count,
    inference_of,
    mean_cell,
    measured_cell,
    percent,
    times,
)


@dataclass(frozen=True)
class Column:
    """One column: heading, explanation, and how a row fills it."""

    heading: str
    help: str
    fill: Callable[[Row], Cell]
    is_number: bool = True


def grid_of(columns: Sequence[Column], rows: Sequence[Row], *, name: str, title: str) -> Grid:
    """Fill a table; every cell knows its runs.

    Args:
        columns: What is shown.
        rows: Of which cells of the sweep.
        name: The table's name, unique in the report.
        title: Its caption.

    Returns:
        The table.
    """
    return Grid(
        columns=tuple(Heading(c.heading, c.help, c.is_number) for c in columns),
        rows=tuple(tuple(wording.linked(row, c.fill(row)) for c in columns) for row in rows),
        name=name,
        title=title,
    )


def headline_columns(table: TaskTable) -> tuple[Column, ...]:
    """The columns of the headline table: quality, size, time, memory, speed, and what to mind."""
    metric_help = "mean and 95% interval over seeds (Student's t), n runs"
    paired_help = (
        "over common seeds: mean difference, 95% bootstrap interval, p of the paired t test; "
        "within noise unless both leave out zero"
    )
    columns = [
        _ARM,
        *_SPARSITY,
        Column(wording.metric_unit(table.metric_name), metric_help, wording.metric_cell),
        Column(
            "vs FT (points)",
            "mean over that of full fine-tuning, and the difference",
            wording.baseline_cell,
        ),
        Column("vs FT, seed by seed", paired_help, wording.paired_cell),
        Column("runs", "finished runs (seeds)", wording.runs_cell),
        Column("layer params", "left in the layers; what sparsity counts", _LAYER_PARAMS),
        Column("train time", "evaluations and checkpoints left out", wording.train_time_cell),
        Column("to 97% of FT", "training time, evaluations left out", wording.time_to_target_cell),
        Column("peak memory", "of training, GiB", _PEAK_MEMORY),
        *(_speedup_column(size) for size in table.batch_sizes),
        _MIND,
    ]
    return tuple(columns)


def detail_columns(table: TaskTable) -> tuple[Column, ...]:
    """The columns of the second table: what the headline leaves out."""
    columns = [
        _ARM,
        Column("all params", "embeddings and head included", _TOTAL_PARAMS),
        Column("trainable at most", "peak number of trained parameters", _TRAINABLE),
        Column("MACs per sample", "one forward pass at the mean length", _MACS),
        *_time_columns(),
        Column(
            "step time, last / first", "after the last surgery over the first steps", _STEP_RATIO
        ),
        Column("memory vs FT", "peak training memory over full fine-tuning's", _MEMORY_VS_FT),
        Column("memory vs LoRA", "peak training memory over LoRA's", _MEMORY_VS_LORA),
        *_phase_columns(table),
    ]
    if any(row.num_tries > 1 for row in table.rows):
        how = "chosen by the score on held-out rows; the time of the other tries is not counted"
        columns.insert(1, Column("search", how, wording.search_cell, is_number=False))
    for size in table.batch_sizes:
        columns += _inference_columns(size)
    return (*columns, _MIND)


def _time_columns() -> tuple[Column, ...]:
    return (
        Column(
            "to 97% of FT, with evaluation",
            "wall clock of training and evaluations",
            lambda row: wording.time_to_target_cell(row, with_eval=True),
        ),
        Column(
            "97% of FT first reached",
            "training time whatever the density, and the density then",
            wording.first_reached_cell,
        ),
        Column("evaluation time", "of the whole run", _EVAL_TIME),
        Column(
            "teacher time charged",
            "training of an outside teacher, part of all times",
            wording.teacher_cell,
        ),
    )


def _phase_columns(table: TaskTable) -> list[Column]:
    """Peak memory by phase, for the phases that any run has told."""
    phases = dict.fromkeys(phase for row in table.rows for phase in row.peak_memory_by_phase_gib)
    return [
        Column(f"peak memory, {phase}", f"GiB while {phase}", _phase_memory(phase))
        for phase in phases
    ]


def _phase_memory(phase: str) -> Callable[[Row], Cell]:
    return measured_cell(lambda row: row.peak_memory_by_phase_gib.get(phase, NOTHING), _gib)


def _speedup_column(size: int) -> Column:
    fill = measured_cell(inference_of(size, lambda stat: stat.speedup), times)
    return Column(f"speed-up, batch {size}", "dense latency over this latency", fill)


def _inference_columns(size: int) -> tuple[Column, ...]:
    latency = measured_cell(
        inference_of(size, lambda stat: stat.latency_ms), lambda ms: f"{ms:.2f} ms"
    )
    throughput = measured_cell(
        inference_of(size, lambda stat: stat.throughput_samples_per_s), lambda rate: f"{rate:.0f}/s"
    )
    memory = measured_cell(
        inference_of(size, lambda stat: stat.peak_memory_gib), lambda gib: f"{1024 * gib:.1f} MiB"
    )
    return (
        Column(f"latency, batch {size}", "median over repeats, merged model", latency),
        Column(f"throughput, batch {size}", "samples per second", throughput),
        Column(f"inference memory, batch {size}", "weights and forward pass", memory),
    )


def _gib(value: float) -> str:
    return f"{value:.2f} GiB"


_MIND = Column("mind", "what weakens the row", wording.mind_cell, is_number=False)
_ARM = Column("arm", "method, ablation, target sparsity", wording.arm_cell, is_number=False)
_SPARSITY = (
    Column(
        "sparsity",
        "fraction of layer parameters removed",
        mean_cell(lambda row: row.sparsity, percent),
    ),
    Column("density", "1 - sparsity", mean_cell(lambda row: row.density, percent)),
)
_LAYER_PARAMS = mean_cell(lambda row: row.num_layer_params, count)
_TOTAL_PARAMS = mean_cell(lambda row: row.num_total_params, count)
_TRAINABLE = mean_cell(lambda row: row.num_trainable_params_peak, count)
_MACS = mean_cell(lambda row: row.macs_per_sample, count)
_EVAL_TIME = measured_cell(lambda row: row.eval_time_s, wording.duration)
_PEAK_MEMORY = measured_cell(lambda row: row.peak_train_memory_gib, _gib)
_STEP_RATIO = measured_cell(lambda row: row.step_time_ratio, lambda ratio: f"{ratio:.2f}")
_MEMORY_VS_FT = measured_cell(lambda row: row.memory_vs_ft, percent)
_MEMORY_VS_LORA = measured_cell(lambda row: row.memory_vs_lora, percent)

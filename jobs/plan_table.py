"""The tables of a plan."""

from collections.abc import Iterator

from rich import box
from rich.table import Table
from rich.text import Text

from apt_core.capacity.devices import GIB
from apt_core.capacity.forecast import Forecast, PhaseForecast
from jobs.plan_request import PlanRequest
from orchestrator.progress import duration_text

_COMPONENTS = (
    "weights",
    "teacher",
    "optimizer",
    "gradients",
    "activations",
    "working",
    "salience",
    "buffers",
)


def plan_tables(forecast: Forecast) -> Iterator[Table]:
    """Memory by phase and stage, and what fits.

    Args:
        forecast: the plan.

    Yields:
        One table each.
    """
    yield _memory(forecast)
    yield _fits(forecast)


def advice(forecast: Forecast, request: PlanRequest) -> Iterator[str]:
    """The answer in words.

    Args:
        forecast: the plan.
        request: what was asked.

    Yields:
        One line each.
    """
    choice, cluster = forecast.choice, request.cluster
    on = f"{cluster.num_nodes} x {cluster.gpus_per_node} {cluster.device}"
    if choice is not None:
        yield (
            f"on {on}: hardware.zero_stage={choice.stage} takes micro-batches of {forecast.rows} "
            f"rows of {request.seq_len} tokens (up to {choice.rows})"
        )
        seconds = forecast.total_seconds(choice.stage)
        if seconds is not None:
            yield f"the whole training: about {duration_text(seconds)}, evaluations not counted"
        yield from _start(forecast)
        return
    largest = max(fit.rows for fit in forecast.fits)
    if largest:
        yield f"on {on}: {forecast.rows} rows do not fit under any stage, {largest} would"
    else:
        yield f"on {on}: not even one row fits under any stage; {_ways_out(forecast, request)}"
    yield from _start(forecast)


def _start(forecast: Forecast) -> Iterator[str]:
    """The obstacle that no stage removes."""
    if not forecast.can_start:
        yield (
            f"but it cannot start: every worker holds the whole model for a moment, "
            f"{forecast.whole / GIB:.0f} GiB, when the engine is built or the shape changes; "
            f"{forecast.available / GIB:.0f} GiB can be used"
        )


def _ways_out(forecast: Forecast, request: PlanRequest) -> str:
    ways = ["more GPUs", "fewer tokens per row"]
    if not request.config.hardware.gradient_checkpointing:
        ways.append("hardware.gradient_checkpointing=true")
    if request.config.hardware.precision == "fp32":
        ways.append("hardware.precision=bf16")
    if request.config.switches.distill:
        ways.append("ablation=w/o_Ds (no teacher)")
    return f"try {', '.join(ways)}"


def _memory(forecast: Forecast) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        title=f"GiB per GPU at the fullest moment, micro-batches of {forecast.rows} rows",
        title_justify="left",
    )
    table.add_column("phase")
    for heading in ("ZeRO", *_COMPONENTS, "total", "step", "phase time"):
        table.add_column(heading, justify="right", no_wrap=True)
    for phase in forecast.phases:
        for row in _rows(phase, forecast.available):
            table.add_row(*row)
        table.add_section()
    return table


def _rows(forecast: PhaseForecast, available: int) -> Iterator[tuple[str | Text, ...]]:
    for entry in forecast.stages:
        parts = entry.memory.to_json()
        total = parts["total"]
        fits = total <= available
        seconds = forecast.seconds(entry.stage)
        yield (
            forecast.phase.name if entry.stage == 0 else "",
            str(entry.stage),
            *(_gib(parts[name]) for name in _COMPONENTS),
            Text(_gib(total), style="green" if fits else "bold red"),
            "-" if entry.time is None else f"{entry.time.total_s:.3g} s",
            "-" if seconds is None else duration_text(seconds),
        )


def _gib(num_bytes: int) -> str:
    """Three digits are more than a forecast is worth; a component that is nothing is a dash."""
    return "-" if num_bytes == 0 else f"{num_bytes / GIB:.3g}"


def _fits(forecast: Forecast) -> Table:
    """The largest micro-batch that every phase takes."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("ZeRO", justify="right")
    table.add_column(f"rows that fit into {forecast.available / GIB:.1f} GiB", justify="right")
    for fit in forecast.fits:
        table.add_row(str(fit.stage), str(fit.rows) if fit.rows else "none fits")
    return table

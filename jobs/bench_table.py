"""The tables of a benchmark."""

from collections.abc import Iterator

from rich import box
from rich.table import Table
from rich.text import Text

from apt_core.bench.profiling import KINDS
from apt_core.bench.report import BenchReport, Ratio, Timed

_MS = 1000
_SHORT = {
    "matrix products": "products",
    "norms, activations": "norms",
    "other operators": "other",
    "outside operators": "outside",
}
"""What a heading has room for; docs/bench.md says what they mean."""


def bench_tables(report: BenchReport) -> Iterator[Table]:
    """Training steps, memory, surgery, inference and profile, as far as each was measured.

    Args:
        report: what was found.

    Yields:
        One table each.
    """
    yield _training(report)
    if report.memory:
        yield _memory(report)
    if report.surgery:
        yield _surgery(report)
    if report.inference:
        yield _inference(report)
    if report.profile:
        yield _profile(report)


def ratio_text(ratio: Ratio) -> Text:
    """A quotient and its aim; one that is missed says so."""
    if ratio.aim is None:
        return Text(f"{ratio.value:.2f}")
    relation = ">=" if ratio.higher_is_better else "<="
    if ratio.is_missed:
        return Text(f"{ratio.value:.2f} ({relation} {ratio.aim:.2f}: missed)", style="bold red")
    return Text(f"{ratio.value:.2f} ({relation} {ratio.aim:.2f})", style="green")


def _training(report: BenchReport) -> Table:
    rates = report.rates
    table = _table(
        f"Training steps; this device: {rates.flops_per_s / 1e9:.3g} GFLOP/s in matrix products, "
        f"{rates.bytes_per_s / 1e9:.3g} GB/s in a copy",
        ("phase",),
        ("density", "median", "quartiles", "over control (aim)", "bound", "of it"),
    )
    for step in report.training:
        table.add_row(
            step.phase.name,
            f"{step.density:.2f}",
            *_spread_texts(step.timed),
            ratio_text(step.ratio),
            _bound_text(step.timed),
            f"{step.timed.fraction:.0%}",
        )
    return table


def _memory(report: BenchReport) -> Table:
    table = _table("Peak memory", ("phase",), ("tensors", "over control (aim)", "resident"))
    for memory in report.memory:
        resident = memory.peak.resident_gib
        table.add_row(
            memory.phase.name,
            f"{memory.peak.tensors_gib:.3f} GiB",
            ratio_text(memory.ratio),
            "-" if resident is None else f"{resident:.3f} GiB",
        )
    return table


def _surgery(report: BenchReport) -> Table:
    table = _table("Changes of shape", ("what",), ("times", "median (quartiles)"))
    for surgery in report.surgery:
        seconds = surgery.seconds
        text = f"{seconds.median:.3f} s ({seconds.lower:.3f} to {seconds.upper:.3f})"
        table.add_row(surgery.what, str(surgery.count), text)
    return table


def _inference(report: BenchReport) -> Table:
    table = _table(
        "Forward passes of the merged model",
        ("rows x tokens",),
        ("median", "quartiles", "dense", "speed-up (aim)", "rows/s", "bound", "of it"),
    )
    for point in report.inference:
        table.add_row(
            f"{point.rows} x {point.tokens}",
            *_spread_texts(point.pruned),
            f"{_MS * point.dense.seconds.median:.2f} ms",
            ratio_text(point.speedup),
            f"{point.rows / point.pruned.seconds.median:.1f}",
            _bound_text(point.pruned),
            f"{point.pruned.fraction:.0%}",
        )
    return table


def _profile(report: BenchReport) -> Table:
    table = _table(
        "Where the time goes, observed; 1 is the control's whole step or forward pass",
        ("step or rows x tokens",),
        (*(_SHORT.get(kind, kind) for kind in KINDS), "sum"),
    )
    for result in report.profile:
        shares = [result.over_control[kind] for kind in KINDS]
        table.add_row(result.what, *(f"{share:.2f}" for share in (*shares, sum(shares))))
    return table


def _table(title: str, left: tuple[str, ...], right: tuple[str, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    for heading in left:
        table.add_column(heading)
    for heading in right:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _spread_texts(timed: Timed) -> tuple[str, str]:
    """The median, and the quartiles around it."""
    seconds = timed.seconds
    quartiles = f"{_MS * seconds.lower:.1f} to {_MS * seconds.upper:.1f}"
    return f"{_MS * seconds.median:.1f} ms", quartiles


def _bound_text(timed: Timed) -> str:
    return f"{_MS * timed.bound.seconds:.1f} ms, {timed.bound.limited_by}"

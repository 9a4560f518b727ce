"""Time and memory of one run by phase, from its log (PURE)."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from apt_core.report import RunReport
from orchestrator.reports.grid import Cell, Grid, Heading
from orchestrator.reports.wording import duration

PHASES = {
    "first": "tuning, before the first cut",
    "tuning": "tuning, before the first cut",
    "pruning": "pruning, to the last event",
    "distilling": "distilling, after the last event",
    "after_last_event": "retraining",
    "retraining": "retraining",
}
_MISSING = Cell("not recorded", None, is_missing=True)


def stretch_grid(log: Sequence[tuple[int, Mapping[str, Any]]]) -> Grid:
    """Where time and memory went, before, between and after a run's surgeries.

    The peak is the greatest that was logged; a run starts to measure it anew in every phase.

    Args:
        log: (step, values) of every logged step.

    Returns:
        A line per stretch.
    """
    names = ("steps", "training time", "evaluation", "peak memory", "held at its end", "step")
    headings = (Heading("stretch", "", is_number=False), *(Heading(n, n) for n in names))
    return Grid(headings, tuple(_stretches(log)), name="stretches", title="Time and memory")


def phase_grid(run: RunReport) -> Grid:
    """Median steps and, where the report has them, peaks of memory by phase.

    Args:
        run: The run's report.

    Returns:
        A line per phase.
    """
    names = ("median step", "peak memory")
    headings = (Heading("phase", "", is_number=False), *(Heading(n, n) for n in names))
    return Grid(headings, tuple(_phases(run)), name="phases", title="By phase")


def _stretches(log: Sequence[tuple[int, Mapping[str, Any]]]) -> list[tuple[Cell, ...]]:
    """A line for before, between and after the surgeries."""
    cuts = [step for step, values in log if "surgery/seconds" in values]
    if not log:
        return []
    ends = [cuts[0], cuts[-1], log[-1][0]] if cuts else [log[-1][0]]
    names = ["to the first surgery", "to the last surgery", "after the last surgery"]
    rows: list[tuple[Cell, ...]] = []
    before: Mapping[str, Any] = {}
    start = 0
    for name, end in zip(names if cuts else ["no surgery"], ends, strict=True):
        lines = [values for step, values in log if start < step <= end]
        if lines:
            rows.append(_stretch_row(f"{name} (steps {start + 1} to {end})", lines, before))
            steps = Cell(str(end - start))
            rows[-1] = (rows[-1][0], steps, *rows[-1][1:])
            start, before = end, lines[-1]
    return rows


def _stretch_row(
    name: str, lines: Sequence[Mapping[str, Any]], before: Mapping[str, Any]
) -> tuple[Cell, ...]:
    """All but the number of steps; `before` is the last line of the stretch before."""
    last = lines[-1]

    def spent(key: str) -> Cell:
        return Cell(duration(last[key] - before.get(key, 0.0))) if key in last else _MISSING

    def memory(name: str) -> list[float]:
        return [values[name] for values in lines if name in values]

    peaks, held = memory("memory/peak_gib"), memory("memory/current_gib")
    times = [values["time/step_s"] for values in lines if "time/step_s" in values]
    step = Cell(duration_of_step(median(times))) if times else _MISSING
    return (
        Cell(name),
        spent("time/train_s"),
        spent("time/eval_s"),
        Cell(f"{max(peaks):.2f} GiB") if peaks else _MISSING,
        Cell(f"{held[-1]:.2f} GiB") if held else _MISSING,
        step,
    )


def _phases(run: RunReport) -> list[tuple[Cell, ...]]:
    """What the report itself tells by phase."""
    steps = {PHASES.get(phase, phase): seconds for phase, seconds in run.step_time_s.items()}
    memory = {PHASES.get(phase, phase): gib for phase, gib in run.peak_memory_by_phase_gib.items()}
    return [
        (
            Cell(phase),
            Cell(duration_of_step(steps[phase])) if phase in steps else _MISSING,
            Cell(f"{memory[phase]:.2f} GiB") if phase in memory else _MISSING,
        )
        for phase in dict.fromkeys([*steps, *memory])
    ]


def duration_of_step(seconds: float) -> str:
    """A step's time in ms, where that suits it."""
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else duration(seconds)

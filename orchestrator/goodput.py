"""Goodput: which part of a sweep's slots went into training steps, and where the rest is lost.

A slot is the room for one trial. Slot time is the wall time of every launch of the sweep times the
trials that its cluster could hold at once. Every second of it is counted once: for the step or the
loss that filled it.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apt_core.trace import TRACE_FILE
from orchestrator.execution.status import METRICS_FILE
from orchestrator.progress import duration_text
from orchestrator.traces import Record, Span, exclusive, read_trace

STEPS, REPEATED, IDLE, OTHER = "steps", "repeated", "idle", "other"
NAMES = {
    STEPS: "training steps",
    REPEATED: "steps repeated after a loss",
    "restart": "restarts",
    "start-up": "process start-up",
    "imports": "imports",
    "set-up": "set-up",
    "model": "model load",
    "data": "data preparation",
    "restore": "restoring checkpoints",
    "surgery": "surgery",
    "evaluation": "evaluation",
    "checkpoint": "checkpoints",
    "export": "export",
    "efficiency": "efficiency measurement",
    "benchmarks": "benchmarks",
    "wind-down": "process end",
    "cluster": "cluster start and end",
    "report": "report",
    "tracking": "tracking",
    "mirror": "copies on other storage",
    IDLE: "empty slots",
    OTHER: "other",
}
"""What a trace calls it -> what people read, in the order of a trial's life."""
WAITING = "waiting"
_AROUND = ("cluster", "report", "tracking", "mirror")
"""What a sweep's driver does while no trial runs."""
_LONGEST_TEXT = 5
_LEAST_SHARE = 0.005


@dataclass(frozen=True)
class Goodput:
    """Where the time of a sweep's slots went."""

    wall_s: float
    """Of all launches together."""
    slot_s: float
    """Wall time x slots."""
    spent_s: Mapping[str, float]
    """Slot time by what it went into; the keys are those of `NAMES`, the sum is `slot_s`."""

    @property
    def share(self) -> float:
        """Time in training steps over slot time."""
        return self.spent_s.get(STEPS, 0.0) / self.slot_s

    @property
    def slots(self) -> float:
        """Mean number of slots."""
        return self.slot_s / self.wall_s

    @property
    def losses(self) -> list[tuple[str, float]]:
        """What else the time went into, the greatest first, and its share of the slot time."""
        shares = {name: s / self.slot_s for name, s in self.spent_s.items() if name != STEPS}
        return sorted(shares.items(), key=lambda item: -item[1])

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "goodput": self.share,
            "wall_s": self.wall_s,
            "slots": self.slots,
            "slot_s": self.slot_s,
            "spent_s": dict(self.spent_s),
        }


@dataclass(frozen=True)
class _Launch:
    start_s: float
    end_s: float
    slots: int

    @property
    def slot_s(self) -> float:
        return (self.end_s - self.start_s) * self.slots


def goodput_of(folder: Path, run_ids: Iterable[str]) -> Goodput | None:
    """The goodput of a sweep so far.

    Args:
        folder: ``<results_dir>/<name>``.
        run_ids: Its trials.

    Returns:
        The sum over all its launches; None where no launch has trained, or none left a trace.
    """
    trials = [trial_record(folder / "trials" / run_id) for run_id in run_ids]
    return sum_up(read_trace(folder / TRACE_FILE), trials)


def trial_record(run_dir: Path) -> Record:
    """The trace of one trial, finished or not."""
    log = run_dir / METRICS_FILE
    return read_trace(run_dir / TRACE_FILE, log.stat().st_mtime if log.is_file() else 0.0)


def sum_up(sweep: Record, trials: Sequence[Record]) -> Goodput | None:
    """Add up where slot time went (PURE).

    Args:
        sweep: The trace of the sweep's drivers.
        trials: Those of its trials.

    Returns:
        The sum; None where no launch has trained.
    """
    launches = list(_launches(sweep, trials))
    slot_s = sum(launch.slot_s for launch in launches)
    if slot_s <= 0:
        return None
    spent: dict[str, float] = defaultdict(float)
    for record in trials:
        for piece in pieces_of(record):
            spent[piece.name] += _inside(piece, launches)
    spent.pop(WAITING, None)  # it holds no slot meanwhile
    for launch in launches:
        for span in sweep.spans:
            if span.name in _AROUND:
                spent[span.name] += _inside(span, [launch]) * launch.slots
    spent[IDLE] = max(0.0, slot_s - sum(spent.values()))
    wall_s = sum(launch.end_s - launch.start_s for launch in launches)
    ordered = {name: spent[name] for name in NAMES if spent[name] > 0}
    return Goodput(wall_s, sum(ordered.values()), ordered)


def pieces_of(record: Record) -> list[Span]:
    """A trial's time in pieces that do not overlap, named as in `NAMES`, or `WAITING` (PURE)."""
    lost = list(_lost_stretches(record))
    pieces = []
    for piece in exclusive(record.spans):
        name = _name_of(piece, lost)
        pieces.append(Span(name, piece.start_s, piece.end_s, piece.args))
    return pieces


def _name_of(piece: Span, lost: Sequence[tuple[float, float]]) -> str:
    if piece.name == "training":
        return REPEATED if any(a <= piece.start_s < b for a, b in lost) else STEPS
    return piece.name if piece.name in NAMES or piece.name == WAITING else OTHER


def _lost_stretches(record: Record) -> Iterator[tuple[float, float]]:
    """From the checkpoint that a training went on from to its start: that was done twice.

    A thread commits and the training tells of it at its next save, so who dies in between has left
    a checkpoint that nobody told of: then the one before it counts.
    """
    trainings = [span for span in record.spans if span.name == "training"]
    for training in trainings[1:]:
        commits = [
            mark.time_s
            for mark in record.marks
            if mark.name == "committed"
            and mark.time_s < training.start_s
            and mark.args.get("step", 0) <= training.args.get("step", 0)
        ]
        yield max(commits, default=0.0), training.start_s


def _launches(sweep: Record, trials: Sequence[Record]) -> Iterator[_Launch]:
    """The launches that trained; one whose driver was killed lasts to the last sign of life."""
    launches = [span for span in sweep.spans if span.name == "launch"]
    signs = [s.end_s for record in (sweep, *trials) for s in record.spans]
    for i, span in enumerate(launches):
        end_s = span.end_s
        if not span.is_closed:
            next_s = launches[i + 1].start_s if i + 1 < len(launches) else math.inf
            end_s = max([end_s, *(sign for sign in signs if sign <= next_s)])
        begun = [s for s in sweep.spans if span.start_s <= s.start_s <= end_s]
        slots = max(int(s.args.get("slots", 0)) for s in begun)
        if slots and end_s > span.start_s:
            yield _Launch(span.start_s, end_s, slots)


def _inside(span: Span, launches: Sequence[_Launch]) -> float:
    """Seconds of a span within launches; single trainings in one folder may overlap."""
    inside = (
        max(0.0, min(span.end_s, launch.end_s) - max(span.start_s, launch.start_s))
        for launch in launches
    )
    return min(span.end_s - span.start_s, sum(inside))


def slots_text(goodput: Goodput) -> str:
    """Slots x wall time in words, e.g. ``2 slots x 10 min 05 s``."""
    noun = "slot" if goodput.slots == 1 else "slots"
    return f"{goodput.slots:.3g} {noun} x {duration_text(goodput.wall_s)}"


def goodput_lines(goodput: Goodput) -> list[str]:
    """One line for the goodput, one for its losses."""
    lines = [f"goodput: {goodput.share:.0%} of {slots_text(goodput)} went into training steps"]
    told = [loss for loss in goodput.losses if loss[1] >= _LEAST_SHARE][:_LONGEST_TEXT]
    if told:
        rest = 1.0 - goodput.share - sum(share for _, share in told)
        texts = [f"{NAMES[name]} {share:.0%}" for name, share in told]
        texts += [f"the rest {rest:.0%}"] if rest >= _LEAST_SHARE else []
        lines.append("lost to: " + ", ".join(texts))
    return lines

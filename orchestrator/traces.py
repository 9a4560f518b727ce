"""Read traces: spans and marks out of a file in Chrome's trace event format.

Whoever wrote it may have been killed at any moment: spans that nobody closed end with the last sign
of life of their process, and lines that cannot be read are passed over.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TAIL_BYTES = 4096
US_PER_S = 1e6


@dataclass(frozen=True)
class Span:
    """Something that took time; in seconds since the epoch."""

    name: str
    start_s: float
    end_s: float
    args: Mapping[str, Any] = field(default_factory=dict)
    is_closed: bool = True
    """False: its process was killed in it, or is in it still."""


@dataclass(frozen=True)
class Mark:
    """Something that happened, in seconds since the epoch."""

    name: str
    time_s: float
    args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """The content of one trace."""

    spans: tuple[Span, ...] = ()
    """By their start, an outer one before what is inside it."""
    marks: tuple[Mark, ...] = ()

    @property
    def end_s(self) -> float:
        """The last moment that it tells of; 0 if it is empty."""
        times = [span.end_s for span in self.spans] + [mark.time_s for mark in self.marks]
        return max(times, default=0.0)


def read_trace(path: Path, alive_s: float = 0.0) -> Record:
    """Read a trace.

    Args:
        path: The file; a missing one is empty.
        alive_s: The last other sign of life of the process that wrote last, in seconds since the
            epoch; its open spans end then, if that is later than its last event.

    Returns:
        Its spans and marks.
    """
    return _record(list(_events(path)), alive_s * US_PER_S)


def last_event_us(path: Path) -> int | None:
    """When the last event of a trace was over.

    Args:
        path: The file; only its end is read.

    Returns:
        Microseconds since the epoch; None where there is no event.
    """
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return None
    ends = [_end_us(event) for event in map(_parsed, lines) if event is not None]
    return max((int(end) for end in ends if end is not None), default=None)


def exclusive(spans: Sequence[Span]) -> list[Span]:
    """Cut nested spans into pieces that do not overlap: what is inside belongs to the inner one.

    Args:
        spans: As in `Record`; of one thread, or of several that took turns.

    Returns:
        The pieces in the order of time, without empty ones.
    """
    pieces: list[Span] = []
    open_spans: list[Span] = []
    reached = 0.0

    def advance(until: float) -> float:
        if until > reached:
            pieces.append(Span(open_spans[-1].name, reached, until, open_spans[-1].args))
        return max(reached, until)

    for span in spans:
        while open_spans and open_spans[-1].end_s <= span.start_s:
            reached = advance(open_spans[-1].end_s)
            open_spans.pop()
        reached = advance(span.start_s) if open_spans else max(reached, span.start_s)
        open_spans.append(span)
    while open_spans:
        reached = advance(open_spans[-1].end_s)
        open_spans.pop()
    return pieces


def _events(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return
    yield from (event for event in map(_parsed, lines) if event is not None)


def _parsed(line: bytes) -> Mapping[str, Any] | None:
    """An event with a time; None: the bracket, a name, or half a line."""
    try:
        event = json.loads(line.rstrip(b",\r\n"))
        is_event = isinstance(event, dict) and {"ph", "name", "ts", "pid", "tid"} <= event.keys()
        return event if is_event else None
    except ValueError:
        return None


def _end_us(event: Mapping[str, Any]) -> float:
    return float(event["ts"]) + float(event.get("dur", 0))


def _record(events: Sequence[Mapping[str, Any]], alive_us: float) -> Record:
    last_us: dict[Any, float] = {}
    for event in events:
        last_us[event["pid"]] = max(last_us.get(event["pid"], 0.0), _end_us(event))
    if events:
        pid = events[-1]["pid"]
        last_us[pid] = max(last_us[pid], alive_us)
    spans = [_span(e, _end_us(e)) for e in events if e["ph"] == "X"]
    spans += _pairs(events, last_us)
    marks = [
        Mark(e["name"], float(e["ts"]) / US_PER_S, e.get("args", {}))
        for e in events
        if e["ph"] == "i"
    ]
    return Record(tuple(sorted(spans, key=lambda s: (s.start_s, -s.end_s))), tuple(marks))


def _pairs(events: Sequence[Mapping[str, Any]], last_us: Mapping[Any, float]) -> Iterator[Span]:
    """Beginnings matched with ends; an end closes what was left open inside, too."""
    threads: dict[tuple[Any, Any], list[Mapping[str, Any]]] = {}
    for event in events:
        begun = threads.setdefault((event["pid"], event["tid"]), [])
        if event["ph"] == "B":
            begun.append(event)
        elif event["ph"] == "E" and any(b["name"] == event["name"] for b in begun):
            while begun:
                inner = begun.pop()
                yield _span(inner, float(event["ts"]))
                if inner["name"] == event["name"]:
                    break
    for (pid, _), begun in threads.items():
        yield from (_span(event, last_us[pid], is_closed=False) for event in begun)


def _span(event: Mapping[str, Any], end_us: float, *, is_closed: bool = True) -> Span:
    start_s = float(event["ts"]) / US_PER_S
    end_s = max(start_s, end_us / US_PER_S)
    return Span(event["name"], start_s, end_s, event.get("args", {}), is_closed)

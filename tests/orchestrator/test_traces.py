import json
from pathlib import Path
from typing import Any

import pytest

from apt_core.trace import recording, span
from orchestrator.traces import Span, exclusive, last_event_us, read_trace

S = 1_000_000


def write(path: Path, *events: dict[str, Any]) -> Path:
    """A trace of one process and thread, unless an event says otherwise."""
    lines = [json.dumps({"pid": 1, "tid": 1, "args": {}} | event) + ",\n" for event in events]
    path.write_text("[\n" + "".join(lines))
    return path


def begin(name: str, at_s: float, **more: Any) -> dict[str, Any]:
    return {"ph": "B", "name": name, "ts": at_s * S} | more


def end(name: str, at_s: float, **more: Any) -> dict[str, Any]:
    return {"ph": "E", "name": name, "ts": at_s * S} | more


def told(spans: Any) -> list[tuple[str, float, float]]:
    return [(span.name, span.start_s, span.end_s) for span in spans]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    with recording(path, "me") as trace, span("outer", slots=2):
        trace.complete("before", 1 * S, 3 * S)
        trace.mark("committed", step=4)
    record = read_trace(path)
    assert [(s.name, s.is_closed, dict(s.args)) for s in record.spans] == [
        ("before", True, {}),
        ("outer", True, {"slots": 2}),
    ]
    assert [(mark.name, mark.args) for mark in record.marks] == [("committed", {"step": 4})]
    assert last_event_us(path) == pytest.approx(record.end_s * S, abs=1)


def test_a_missing_trace_is_empty(tmp_path: Path) -> None:
    assert read_trace(tmp_path / "trace.json").spans == ()
    assert read_trace(tmp_path / "trace.json").end_s == 0
    assert last_event_us(tmp_path / "trace.json") is None


def test_spans_of_a_killed_process_end_with_its_last_sign_of_life(tmp_path: Path) -> None:
    other = {"pid": 2}
    path = write(
        tmp_path / "trace.json",
        begin("training", 10),
        begin("checkpoint", 14),
        end("checkpoint", 15),
        begin("training", 30, **other),
    )
    assert told(read_trace(path).spans) == [
        ("training", 10, 15),
        ("checkpoint", 14, 15),
        ("training", 30, 30),
    ]
    spans = read_trace(path, alive_s=42).spans  # only who wrote last can be alive
    assert [span.end_s for span in spans] == [15, 15, 42]
    assert [span.is_closed for span in spans] == [False, True, False]


def test_an_end_closes_what_was_left_open_inside_and_a_stray_end_closes_nothing(
    tmp_path: Path,
) -> None:
    path = write(
        tmp_path / "trace.json",
        begin("outer", 1),
        begin("inner", 2),
        end("stray", 3),
        end("outer", 5),
    )
    assert told(read_trace(path).spans) == [("outer", 1, 5), ("inner", 2, 5)]


def test_lines_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path / "trace.json", begin("a", 1), end("a", 2))
    with path.open("a") as file:
        file.write('{"ph": "B"},\n[1]\nhalf a li')
    assert told(read_trace(path).spans) == [("a", 1, 2)]
    assert last_event_us(path) == 2 * S


def test_pieces_do_not_overlap_and_cover_what_the_outer_spans_cover() -> None:
    spans = [
        Span("worker", 0, 10),
        Span("training", 1, 9),
        Span("evaluation", 2, 4),
        Span("evaluation", 3, 4),
        Span("surgery", 6, 7),
        Span("wind-down", 12, 13),
    ]
    pieces = exclusive(spans)
    assert told(pieces) == [
        ("worker", 0, 1),
        ("training", 1, 2),
        ("evaluation", 2, 3),
        ("evaluation", 3, 4),
        ("training", 4, 6),
        ("surgery", 6, 7),
        ("training", 7, 9),
        ("worker", 9, 10),
        ("wind-down", 12, 13),
    ]


def test_a_span_that_outlasts_the_one_around_it_counts_no_moment_twice() -> None:
    pieces = exclusive([Span("a", 0, 5), Span("b", 4, 7), Span("c", 6, 8)])
    assert sum(piece.end_s - piece.start_s for piece in pieces) == 8
    assert exclusive([]) == []

import errno
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from apt_core.trace import Trace, current, recording, span


def events(path: Path) -> list[dict[str, Any]]:
    """As a viewer reads it: an array whose closing bracket may be missing."""
    read: list[dict[str, Any]] = json.loads(path.read_text().rstrip(",\n") + "]")
    return read


def test_spans_go_to_the_file_that_is_recorded_to_and_nest(tmp_path: Path) -> None:
    path = tmp_path / "new" / "trace.json"
    with recording(path, "me"), span("outer", step=3), span("inner"):
        pass
    named = [(e["ph"], e["name"]) for e in events(path)[1:]]
    assert named == [("B", "outer"), ("B", "inner"), ("E", "inner"), ("E", "outer")]
    assert events(path)[0]["args"] == {"name": "me"}
    assert events(path)[1]["args"] == {"step": 3}
    times = [e["ts"] for e in events(path)[1:]]
    assert times == sorted(times)


def test_a_span_ends_with_its_block_also_when_that_raises(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    with pytest.raises(KeyError), recording(path, "me"), span("work"):
        raise KeyError
    assert events(path)[-1]["ph"] == "E"
    assert current() is None


def test_where_nobody_records_a_span_does_nothing_and_still_decorates() -> None:
    @span("work")
    def double(number: int) -> int:
        assert current() is None
        return 2 * number

    assert double(2) == 4


def test_a_decorated_function_is_recorded_every_time(tmp_path: Path) -> None:
    @span("work")
    def work() -> None:
        pass

    with recording(tmp_path / "trace.json", "me"):
        work()
        work()
    assert [e["ph"] for e in events(tmp_path / "trace.json")[1:]] == ["B", "E", "B", "E"]


def test_who_takes_over_appends_behind_the_last_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    with recording(path, "first"), span("work"):
        pass
    with path.open("a") as file:
        file.write('{"ph": "B", "na')
    with recording(path, "second"):
        pass
    assert [e["args"].get("name") for e in events(path)] == ["first", None, None, "second"]


def test_recordings_nest_and_the_outer_one_goes_on(tmp_path: Path) -> None:
    with recording(tmp_path / "a", "a"):
        with recording(tmp_path / "b", "b"), span("inner"):
            pass
        with span("outer"):
            pass
    assert [e["name"] for e in events(tmp_path / "a")] == ["process_name", "outer", "outer"]
    assert [e["name"] for e in events(tmp_path / "b")] == ["process_name", "inner", "inner"]


def test_a_file_that_cannot_be_written_is_one_warning_and_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    with (
        caplog.at_level(logging.WARNING),
        recording(tmp_path / "file" / "trace.json", "me"),
        span("work"),
    ):
        pass
    assert len(caplog.messages) == 1
    assert "no trace from here on" in caplog.messages[0]


def test_a_disk_that_fills_up_is_one_warning_and_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    trace = Trace(tmp_path / "trace.json", "me")
    with monkeypatch.context() as patched:
        patched.setattr("apt_core.trace.os.write", full)
        trace.begin("work")
        trace.complete("work", 5, 3)
    trace.close()
    assert len(caplog.messages) == 1
    assert "No space left" in caplog.messages[0]
    assert len(events(trace.path)) == 1  # what was written before

"""Where a run's time goes: spans, appended to a file in Chrome's trace event format.

``chrome://tracing`` and https://ui.perfetto.dev open it. The format's array may lack its closing
bracket, so the file only ever grows: a process that is killed leaves what it wrote, and who takes
over appends. Like logging, spans go to whatever the process records to, or nowhere. Times are wall
clock, in microseconds since the epoch, so the traces of several machines stand on one axis.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from apt_core.line_file import drop_torn_line

logger = logging.getLogger(__name__)

TRACE_FILE = "trace.json"
_current: "Trace | None" = None


class Trace:
    """Appends events to one file. It never raises: a full disk costs the trace, not the training.

    Args:
        path: The file; made with its folder if there is none.
        title: What viewers call this process.
    """

    def __init__(self, path: Path, title: str) -> None:
        self.path = path
        self._descriptor: int | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            drop_torn_line(path)
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            if path.stat().st_size == 0:
                os.write(self._descriptor, b"[\n")
        except OSError as error:
            self._give_up(error)
        self._write({"ph": "M", "name": "process_name", "args": {"name": title}})

    def begin(self, name: str, **args: Any) -> None:
        """Open a span; spans of one thread nest."""
        self._write({"ph": "B", "name": name, "ts": now_us(), "args": args})

    def end(self, name: str, **args: Any) -> None:
        """Close the innermost span, whose name this is."""
        self._write({"ph": "E", "name": name, "ts": now_us(), "args": args})

    def complete(self, name: str, start_us: int, end_us: int, **args: Any) -> None:
        """Write a span that is over.

        Args:
            name: What was done.
            start_us: When it began, in microseconds since the epoch.
            end_us: When it was done.
            **args: What else to know.
        """
        duration = max(0, end_us - start_us)
        self._write({"ph": "X", "name": name, "ts": start_us, "dur": duration, "args": args})

    def mark(self, name: str, **args: Any) -> None:
        """Note that something has happened now."""
        self._write({"ph": "i", "s": "p", "name": name, "ts": now_us(), "args": args})

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _write(self, event: dict[str, Any]) -> None:
        if self._descriptor is None:
            return
        event |= {"pid": os.getpid(), "tid": threading.get_native_id()}
        try:
            os.write(self._descriptor, json.dumps(event).encode() + b",\n")
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        logger.warning("%s: no trace from here on: %s", self.path, error)
        self.close()


@contextmanager
def recording(path: Path, title: str) -> Iterator[Trace]:
    """Inside the block, the spans of this process go to a file.

    Args:
        path: The file; it is continued if it is there.
        title: What viewers call this process.

    Yields:
        The trace.
    """
    global _current  # noqa: PLW0603 - one per process, as with logging
    before, trace = _current, Trace(path, title)
    _current = trace
    try:
        yield trace
    finally:
        _current = before
        trace.close()


@contextmanager
def span(name: str, **args: Any) -> Iterator[None]:
    """Record how long the block takes; does nothing where nobody records. Decorates as well.

    Args:
        name: What is done in it.
        **args: What else to know, as plain data.

    Yields:
        None: When it is noted.
    """
    trace = _current
    if trace is None:
        yield
        return
    trace.begin(name, **args)
    try:
        yield
    finally:
        trace.end(name)


def current() -> Trace | None:
    """What this process records to, if it does."""
    return _current


def now_us() -> int:
    """Wall clock in microseconds since the epoch."""
    return time.time_ns() // 1000

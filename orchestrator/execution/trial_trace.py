"""What a trial's trace says beside the training: waiting, start-up, restarts, the end."""

import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from apt_core.trace import TRACE_FILE, Trace, now_us, recording, span
from orchestrator.traces import last_event_us


@contextmanager
def traced_attempt(payload: Mapping[str, Any]) -> Iterator[None]:
    """Inside the block, worker 0 of a trial records its spans in the trial's folder.

    What went before is written first: how long the trial waited for a slot, and what passed from
    then, or from the end of a lost attempt, to this moment.

    Args:
        payload: The trial, with ``queued_us`` and ``placed_us`` where Ray runs it.

    Yields:
        None: When all that is written.
    """
    run_dir, launch_id = Path(payload["run_dir"]), payload["launch_id"]
    last = last_event_us(run_dir / TRACE_FILE)
    with recording(run_dir / TRACE_FILE, f"{payload['run_id']} on {platform.node()}") as trace:
        _write_what_went_before(trace, payload, last)
        with span("worker", launch_id=launch_id, node=platform.node()):
            yield


def _write_what_went_before(trace: Trace, payload: Mapping[str, Any], last: int | None) -> None:
    placed, now = payload.get("placed_us"), now_us()
    if placed is None:
        return  # trained without Ray: the process is the user's own
    if last is not None and last > placed:
        trace.complete("restart", last, now)
        return
    queued = payload.get("queued_us", placed)
    if last is None or last < queued:
        trace.complete("waiting", queued, placed)
    trace.complete("start-up", placed, now)


def trace_end(run_dir: Path) -> None:
    """Write what passed from a trial's last event to this moment, when its slot becomes free.

    Args:
        run_dir: The trial's folder; where no worker has recorded anything, nor does this.
    """
    last = last_event_us(run_dir / TRACE_FILE)
    if last is None:
        return
    trace = Trace(run_dir / TRACE_FILE, f"driver {os.getpid()} on {platform.node()}")
    trace.complete("wind-down", last, now_us())
    trace.close()

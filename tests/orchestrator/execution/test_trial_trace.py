from pathlib import Path
from typing import Any

from apt_core.trace import now_us, span
from orchestrator.execution.trial_trace import trace_end, traced_attempt
from orchestrator.traces import Record, read_trace

S = 1_000_000


def attempt(run_dir: Path, **times: int) -> Record:
    payload: dict[str, Any] = {"run_dir": str(run_dir), "run_id": "a", "launch_id": "001", **times}
    with traced_attempt(payload), span("training"):
        pass
    return read_trace(run_dir / "trace.json")


def names(record: Record) -> list[str]:
    return [span.name for span in record.spans]


def test_what_went_before_the_worker_is_waiting_and_start_up(tmp_path: Path) -> None:
    placed = now_us() - 3 * S
    record = attempt(tmp_path, queued_us=placed - 5 * S, placed_us=placed)
    assert names(record) == ["waiting", "start-up", "worker", "training"]
    waiting, start_up, worker, _ = record.spans
    assert waiting.end_s - waiting.start_s == 5
    assert 3 <= start_up.end_s - start_up.start_s < 4
    assert start_up.end_s <= worker.start_s
    assert worker.args["launch_id"] == "001"


def test_an_attempt_after_a_lost_one_is_a_restart_from_its_last_event_on(tmp_path: Path) -> None:
    times = {"queued_us": now_us() - 2 * S, "placed_us": now_us() - S}
    first = attempt(tmp_path, **times)
    record = attempt(tmp_path, **times)
    added = names(record)[len(first.spans) :]
    assert added == ["restart", "worker", "training"]
    assert record.spans[len(first.spans)].start_s == first.end_s


def test_a_lost_driver_costs_a_start_up_and_no_second_wait(tmp_path: Path) -> None:
    queued = now_us() - 2 * S
    first = attempt(tmp_path, queued_us=queued, placed_us=queued + S)
    record = attempt(tmp_path, queued_us=queued, placed_us=now_us())
    assert names(record)[len(first.spans) :] == ["start-up", "worker", "training"]


def test_without_ray_nothing_went_before(tmp_path: Path) -> None:
    assert names(attempt(tmp_path)) == ["worker", "training"]


def test_the_end_reaches_from_the_last_event_to_now(tmp_path: Path) -> None:
    before = attempt(tmp_path)
    trace_end(tmp_path)
    last = read_trace(tmp_path / "trace.json").spans[-1]
    assert (last.name, last.start_s) == ("wind-down", before.end_s)


def test_where_no_worker_recorded_anything_nor_does_the_driver(tmp_path: Path) -> None:
    trace_end(tmp_path)
    assert list(tmp_path.iterdir()) == []

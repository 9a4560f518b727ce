import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from apt_core.report import StepMetrics
from apt_core.trainer.metric_log import JsonlWriter
from orchestrator.tracking.jsonl import Position, read_metrics, tail_metrics

MakeStep = Callable[[int], StepMetrics]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trial" / "metrics.jsonl"


def write_steps(path: Path, steps: list[StepMetrics]) -> None:
    with JsonlWriter(path) as writer:
        for step in steps:
            writer.write(step)


def test_every_line_is_on_disk_before_write_returns(path: Path, step_metrics: MakeStep) -> None:
    writer = JsonlWriter(path)
    writer.write(step_metrics(1))
    assert read_metrics(path)[0] == [step_metrics(1)]
    writer.write(step_metrics(2))
    assert read_metrics(path)[0] == [step_metrics(1), step_metrics(2)]
    writer.close()


def test_reading_goes_on_where_it_stopped(path: Path, step_metrics: MakeStep) -> None:
    write_steps(path, [step_metrics(step) for step in range(5)])
    first, offset = read_metrics(path, 0, max_lines=2)
    rest, end = read_metrics(path, offset)
    assert [m.step for m in first + rest] == [0, 1, 2, 3, 4]
    assert read_metrics(path, end) == ([], end)


def test_a_partial_line_is_never_consumed(path: Path, step_metrics: MakeStep) -> None:
    write_steps(path, [step_metrics(1)])
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:10])
    metrics, offset = read_metrics(path)
    assert [m.step for m in metrics] == [1]
    assert offset == len(whole)
    path.write_bytes(whole + whole)
    assert len(read_metrics(path, offset)[0]) == 1


def test_a_missing_file_is_an_empty_one(path: Path) -> None:
    assert read_metrics(path) == ([], 0)
    assert tail_metrics(path, Position()).metrics == []


def test_unreadable_lines_are_skipped(path: Path, step_metrics: MakeStep) -> None:
    write_steps(path, [step_metrics(1)])
    with path.open("ab") as file:
        file.write(b'{"step": 2}\nnonsense\n[1]\n{"step": 3, "time_ms": 1, "values": {"a": "x"}}\n')
    write_steps(path, [step_metrics(4)])
    assert [m.step for m in read_metrics(path)[0]] == [1, 4]


def test_infinity_and_nan_survive_the_file(path: Path) -> None:
    write_steps(path, [StepMetrics(1, 5, {"a": math.inf, "b": math.nan, "c": -math.inf})])
    values = read_metrics(path)[0][0].values
    assert values["a"] == math.inf
    assert math.isnan(values["b"])
    assert values["c"] == -math.inf


def test_opening_removes_the_half_line_of_a_killed_process(
    path: Path, step_metrics: MakeStep
) -> None:
    write_steps(path, [step_metrics(1)])
    with path.open("ab") as file:
        file.write(b'{"step": 2, "ti')
    write_steps(path, [step_metrics(3)])
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 3]


def test_truncation_drops_later_steps_and_writing_goes_on(
    path: Path, step_metrics: MakeStep
) -> None:
    write_steps(path, [step_metrics(step) for step in range(10)])
    with path.open("ab") as file:
        file.write(b'{"step": 4, "torn')
    with JsonlWriter(path) as writer:
        assert writer.truncate_after(6) == 3
        writer.write(step_metrics(7))
    assert [m.step for m in read_metrics(path)[0]] == list(range(8))
    assert [p.name for p in path.parent.iterdir()] == ["metrics.jsonl"]


def test_truncation_with_nothing_to_drop_leaves_the_file_alone(
    path: Path, step_metrics: MakeStep
) -> None:
    write_steps(path, [step_metrics(1)])
    inode = path.stat().st_ino
    with JsonlWriter(path) as writer:
        assert writer.truncate_after(1) == 0
    assert path.stat().st_ino == inode


def test_a_tail_notices_that_the_text_before_it_has_changed(
    path: Path, step_metrics: MakeStep
) -> None:
    write_steps(path, [step_metrics(step) for step in range(10)])
    position = tail_metrics(path, Position()).position
    with JsonlWriter(path) as writer:
        writer.truncate_after(4)
    assert tail_metrics(path, position).is_rewritten
    # Grown again beyond the old length, with other times, as a resumed run does.
    write_steps(
        path, [StepMetrics(step, 1_800_000_000_000, {"train/loss": 0.5}) for step in range(5, 30)]
    )
    assert path.stat().st_size > position.offset
    assert tail_metrics(path, position).is_rewritten
    path.unlink()
    assert tail_metrics(path, position).is_rewritten


def test_a_tail_does_not_mind_a_cut_behind_it(path: Path, step_metrics: MakeStep) -> None:
    write_steps(path, [step_metrics(step) for step in range(10)])
    position = tail_metrics(path, Position(), max_lines=3).position
    with JsonlWriter(path) as writer:
        writer.truncate_after(4)
    tail = tail_metrics(path, position)
    assert not tail.is_rewritten
    assert [m.step for m in tail.metrics] == [3, 4]


def test_a_hundred_thousand_lines_are_read_in_seconds(path: Path, step_metrics: MakeStep) -> None:
    path.parent.mkdir(parents=True)
    lines = (json.dumps(step_metrics(step).to_json()) for step in range(100_000))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    began, position, num_read = time.process_time(), Position(), 0
    while (tail := tail_metrics(path, position, max_lines=200)).metrics:
        position = tail.position
        num_read += len(tail.metrics)
    assert num_read == 100_000
    assert time.process_time() - began < 10.0  # linear: about 1 s; quadratic: minutes

"""Both models on the same batches; and a sentence where the export is not faster."""

import time

import torch

from apt_core.evaluator.export_speed import SpeedPoint, measure_speed, slow_points


def test_both_answer_every_batch_in_turn_and_the_clock_tells_them_apart() -> None:
    batches = [{"input_ids": torch.full((3, 5), i)} for i in range(2)]
    calls: list[tuple[str, int]] = []

    def quick(batch):
        calls.append(("quick", int(batch["input_ids"][0, 0])))

    def slow(batch):
        calls.append(("slow", int(batch["input_ids"][0, 0])))
        time.sleep(0.02)

    point = measure_speed(quick, slow, batches, warmup=1, repeats=3)
    assert point.batch_size == 3
    assert point.dense_latency_ms >= 20.0
    assert point.speedup > 2.0
    # One pair of calls to warm up, three that count, the batches in turn each time.
    assert calls == [(who, i) for i in (0, 0, 1, 0) for who in ("quick", "slow")]


def test_what_is_not_faster_is_said_for_each_batch_size() -> None:
    points = [SpeedPoint(1, 5.0, 4.0), SpeedPoint(32, 4.0, 9.0), SpeedPoint(64, 4.0, 4.0)]
    first, second = slow_points(points, "CPU")
    assert first == (
        "not faster than the unpruned model at batch size 1 on CPU: 5.00 ms against 4.00 ms"
    )
    assert "batch size 64" in second

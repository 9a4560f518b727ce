"""With a fake of Ray's metrics; `test_sweep.py` reads the real endpoint."""

from collections.abc import Mapping
from typing import Any

import pytest
import ray
from ray.util import metrics

from orchestrator.execution.gauges import Gauges, SweepGauges


class FakeMetrics:
    """What Ray was told: name -> values; and with which labels."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = {}
        self.tags: dict[str, Mapping[str, str]] = {}

    def metric(self, name: str, description: str, tag_keys: tuple[str, ...]) -> Any:
        assert description
        assert name not in self.values, "made twice"
        self.values[name] = []
        outer = self

        class Metric:
            def set_default_tags(self, tags: Mapping[str, str]) -> "Metric":
                assert set(tags) == set(tag_keys)
                outer.tags[name] = tags
                return self

            def set(self, value: float) -> None:
                outer.values[name].append(value)

            def inc(self) -> None:
                outer.values[name].append(1)

        return Metric()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeMetrics:
    return faked(monkeypatch)


def faked(monkeypatch: pytest.MonkeyPatch) -> FakeMetrics:
    told = FakeMetrics()
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(metrics, "Gauge", told.metric)
    monkeypatch.setattr(metrics, "Counter", told.metric)
    return told


def test_gauges_are_made_once_and_carry_their_labels(fake: FakeMetrics) -> None:
    gauges = Gauges({"run_id": "a", "arm": "apt"})
    gauges.set("aptune_step", 1, "Steps.")
    gauges.set("aptune_step", 2, "Steps.")
    gauges.count("aptune_checkpoints", "Checkpoints.")
    assert fake.values == {"aptune_step": [1, 2], "aptune_checkpoints": [1]}
    assert fake.tags["aptune_step"] == {"run_id": "a", "arm": "apt"}


def test_a_sweep_shows_how_late_its_tracking_is(fake: FakeMetrics) -> None:
    SweepGauges("mine").show_lag(2.5)
    assert fake.values == {"aptune_outbox_lag_seconds": [2.5]}
    assert fake.tags["aptune_outbox_lag_seconds"] == {"sweep": "mine"}


def test_whatever_ray_raises_is_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*args: Any, **options: Any) -> Any:
        raise RuntimeError("no agent")

    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(metrics, "Gauge", broken)
    gauges = Gauges({"run_id": "a"})
    for step in range(3):
        gauges.set("aptune_step", step, "Steps.")
    assert caplog.messages == ["no more metrics for Prometheus: RuntimeError: no agent"]


def test_without_a_cluster_nobody_is_told(
    fake: FakeMetrics, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    Gauges({"run_id": "a"}).set("aptune_step", 1, "Steps.")
    assert (fake.values, caplog.messages) == ({}, [])

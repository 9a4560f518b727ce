"""The parts of a benchmark come together, memory before anything else is alive."""

from dataclasses import replace

import pytest
import torch

from apt_core.bench.memory import PeakMemory
from apt_core.bench.phases import CONTROL, PHASES, RETRAINING, TAUGHT, TUNING
from apt_core.bench.run import measure_memory, run_bench
from tests.tiny_bench import SETTINGS, tiny_builder

CPU = torch.device("cpu")
FACTS = {"arm": "apt", "density": 0.4}


def peaks(*gib: float):
    return [lambda g=g: PeakMemory(g, None) for g in gib]


@pytest.fixture(autouse=True)
def _all_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other process, and a copy that takes no time."""
    monkeypatch.setattr("apt_core.bench.run.in_isolation", lambda call, device: call())
    monkeypatch.setattr("apt_core.bench.device_rates.COPIED_BYTES", 2**20)


def test_memory_is_compared_with_the_control() -> None:
    measures = dict(zip((CONTROL, TUNING, RETRAINING), peaks(2.0, 2.5, 1.0), strict=True))
    found = measure_memory(measures, 0.4, CPU)
    assert [result.ratio.value for result in found] == [1.0, 1.25, 0.5]
    assert [result.ratio.aim for result in found] == [None, None, 0.65]
    assert measure_memory(measures, 0.6, CPU)[2].ratio.aim is None
    assert measure_memory({}, 0.4, CPU) == ()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


def test_a_whole_benchmark(root) -> None:
    order: list[str] = []

    def measure() -> PeakMemory:
        order.append("memory")
        return PeakMemory(1.0, 2.0)

    def build():
        order.append("builder")
        return tiny_builder(root)

    report = run_bench(PHASES, build, {CONTROL: measure}, device=CPU, facts=FACTS)
    assert order == ["memory", "builder"]
    assert [step.phase for step in report.training] == list(PHASES)
    control = report.training[0].timed.seconds.median
    for step in report.training:
        assert step.ratio.value == step.timed.seconds.median / control
        assert step.timed.fraction > 0
    assert [point.rows for point in report.inference] == [1, 32]
    assert len(report.surgery) == 3
    assert report.settings["arm"] == "apt"
    assert report.settings["repeats"] == 2
    assert len(report.notes) == 1


def test_steps_and_forward_passes_are_observed_on_demand(root) -> None:
    settings = replace(SETTINGS, profile=True)
    phases = (CONTROL, TAUGHT, RETRAINING)
    report = run_bench(
        phases, lambda: tiny_builder(root, settings=settings), {}, device=CPU, facts=FACTS
    )
    steps, passes = report.profile[:3], report.profile[3:]
    assert [result.what for result in steps] == [phase.name for phase in phases]
    # The synthetic model reads at most 38 tokens.
    sizes = [f"{point.rows} x {point.tokens}" for point in report.inference]
    names = [f"{size}, {which}" for size in sizes for which in ("dense", "merged")]
    assert [result.what for result in passes] == names
    for result in report.profile:
        assert result.seconds["matrix products"] > 0
        assert (result.seconds["optimizer"] > 0) == (result in steps)
        assert (result.seconds["teacher"] > 0) == (result.what == TAUGHT.name)
        own_control = steps[0] if result in steps else passes[0 if result in passes[:2] else 2]
        assert result.control is own_control.seconds


def test_an_arm_without_cuts_has_no_other_model_to_serve(root) -> None:
    report = run_bench(
        (CONTROL, TUNING),
        lambda: tiny_builder(root, "arm=lora"),
        {},
        device=CPU,
        facts=FACTS,
    )
    assert len(report.training) == 2
    assert (report.memory, report.surgery, report.inference, report.notes) == ((), (), (), ())

"""From a request to a forecast: constants and shapes reach the arithmetic."""

from dataclasses import replace

import pytest

from apt_core.capacity.devices import USABLE
from apt_core.config import load_config
from jobs.plan_request import Cluster, Constants, PlanRequest, Sizes, make_request
from jobs.plan_run import assumptions, facts_of, forecast_of

MILLION = 10**6


def request(model: str | None = None, *overrides: str, workers: int = 2) -> PlanRequest:
    sets = ["model.model_type=toy", "data.dataset=toy_sentiment", "arm=lora", *overrides]
    config = load_config([], ["training.batch_size=32", *sets])
    cluster = Cluster("h100", 1, workers)
    return make_request(config, model, cluster=cluster, sizes=Sizes(seq_len=32))


def test_a_named_shape_needs_no_files_and_has_the_published_size() -> None:
    (tuning,) = forecast_of(request("roberta-base")).phases
    params = tuning.phase.params
    # Body without pooler: 124.06 M; the head learns.
    assert params.frozen == pytest.approx(124.06 * MILLION, rel=1e-3)
    assert params.trained == pytest.approx((0.59 + 0.295) * MILLION, rel=0.01)


def test_memory_and_workers_reach_the_forecast() -> None:
    asked = request()
    forecast = forecast_of(asked)
    assert forecast.available == round(USABLE * asked.cluster.memory_bytes)
    assert forecast.rows == 16
    zero, *_, three = forecast.phases[0].stages
    assert three.memory.weights == pytest.approx(zero.memory.weights / 2, abs=1)


def test_a_benchmarks_efficiency_counts_for_its_own_phase() -> None:
    constants = Constants(1e12, 1e11, 0.5, "by hand")
    asked = replace(request(), constants=constants)
    ours = replace(asked, constants=replace(constants, by_phase={"tuning": 0.25}))
    times = [forecast_of(r).phases[0].stages[0].time for r in (asked, ours)]
    assert times[1].compute_s == pytest.approx(2 * times[0].compute_s)
    assert forecast_of(replace(asked, constants=None)).phases[0].stages[0].time is None


def test_what_the_numbers_rest_on_is_said() -> None:
    asked = request()
    lines = "\n".join(assumptions(asked))
    for text in ("10% of the device", "a guess of the shape", "data sheet of h100", "450 GB/s"):
        assert text in lines
    alone = "\n".join(assumptions(replace(asked, cluster=Cluster("h100"), constants=None)))
    assert "not known for a CPU without --bench" in alone
    assert "communication" not in alone
    assert facts_of(asked)["assumptions"] == assumptions(asked)

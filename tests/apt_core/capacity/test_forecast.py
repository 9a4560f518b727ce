"""The plan as a value: every stage, what fits, and sums over phases."""

import json
from dataclasses import replace

import pytest

from apt_core.bench.flops import Rates
from apt_core.capacity.forecast import make_forecast
from apt_core.capacity.memory import Division, Params
from apt_core.capacity.phase import Speed, phase_memory
from tests.apt_core.capacity.test_phase import PHASE, SETUP

LARGE = replace(PHASE, name="pruning", params=Params(frozen=10**6, trained=200), num_steps=30)
SMALL = replace(PHASE, num_steps=10)
FOUR = replace(SETUP, division=Division(0, 4))
SPEED = Speed(Rates(1e9, 1e9), 1e9)


def test_what_fits_must_fit_in_every_phase() -> None:
    available = phase_memory(LARGE, FOUR).total
    forecast = make_forecast((SMALL, LARGE), FOUR, available=available)
    assert forecast.fits[0].rows == FOUR.rows.rows
    assert forecast.choice == forecast.fits[0]
    alone = make_forecast((SMALL,), FOUR, available=available)
    assert alone.fits[0].rows > forecast.fits[0].rows


def test_the_lowest_stage_that_takes_the_rows_is_chosen() -> None:
    needs = [phase_memory(LARGE, replace(FOUR, division=Division(s, 4))).total for s in range(4)]
    assert needs[0] > needs[3]
    assert make_forecast((LARGE,), FOUR, available=needs[0] - 1).choice.stage > 0
    assert make_forecast((LARGE,), FOUR, available=1000).choice is None


def test_a_model_that_no_worker_can_hold_whole_cannot_start() -> None:
    # 4 bytes for each of 1,000,200 parameters; in bf16 and divided its steps would fit.
    many = replace(SETUP, width=2, division=Division(0, 64))
    forecast = make_forecast((LARGE,), many, available=4_000_799)
    assert (forecast.whole, forecast.can_start) == (4_000_800, False)
    assert forecast.choice is not None
    assert make_forecast((LARGE,), many, available=4_000_800).can_start


def test_times_are_steps_times_seconds_and_a_single_moment_does_not_count() -> None:
    moment = replace(LARGE, name="first cut", num_steps=None)
    forecast = make_forecast((SMALL, moment, LARGE), FOUR, available=10**9, speed=SPEED)
    first, _, last = forecast.phases
    assert first.seconds(2) == pytest.approx(10 * first.stages[2].time.total_s)
    assert forecast.total_seconds(2) == pytest.approx(first.seconds(2) + last.seconds(2))
    unknown = make_forecast((PHASE, LARGE), FOUR, available=10**9, speed=SPEED)
    assert unknown.total_seconds(2) is None
    assert make_forecast((LARGE,), FOUR, available=10**9).total_seconds(2) is None


def test_a_phase_may_have_an_efficiency_of_its_own() -> None:
    plain = make_forecast((SMALL, LARGE), SETUP, available=10**9, speed=SPEED)
    slow = make_forecast(
        (SMALL, LARGE), SETUP, available=10**9, speed=SPEED, efficiencies={"pruning": 0.25}
    )
    assert slow.phases[0].stages[0] == plain.phases[0].stages[0]
    ratio = slow.phases[1].seconds(0) / plain.phases[1].seconds(0)
    assert ratio == pytest.approx(4.0)


def test_the_json_has_every_phase_stage_and_component() -> None:
    forecast = make_forecast((SMALL, LARGE), FOUR, available=10**9, speed=SPEED)
    found = json.loads(json.dumps(forecast.to_json()))
    assert [p["phase"] for p in found["phases"]] == ["tuning", "pruning"]
    stages = found["phases"][1]["stages"]
    assert [s["stage"] for s in stages] == [0, 1, 2, 3]
    memory = stages[3]["memory_bytes"]
    assert memory["total"] == sum(v for k, v in memory.items() if k != "total")
    assert stages[0]["phase_s"] == pytest.approx(30 * stages[0]["step"]["total_s"])
    assert found["lowest_fitting_stage"] == 0
    assert found["can_start"] is True
    assert len(found["fits"]) == 4

"""The tables and the answer in words."""

from dataclasses import replace

from rich.console import Console

from apt_core.bench.flops import Rates
from apt_core.capacity.forecast import Forecast, make_forecast
from apt_core.capacity.memory import Division
from apt_core.capacity.phase import Speed
from apt_core.config import load_config
from jobs.plan_request import Cluster, PlanRequest
from jobs.plan_table import advice, plan_tables
from tests.apt_core.capacity.test_phase import PHASE, SETUP

FOUR = replace(SETUP, division=Division(0, 4))
SPEED = Speed(Rates(1e6, 1e9), 1e9)


def forecast(available: int = 10**8) -> Forecast:
    phase = replace(PHASE, num_steps=100)
    return make_forecast((phase,), FOUR, available=available, speed=SPEED)


def request(*overrides: str) -> PlanRequest:
    config = load_config([], overrides)
    return PlanRequest(config, "here", Cluster("h100", 2, 2), 16, 1, 12, 0, None)


def printed(found: Forecast) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        for table in plan_tables(found):
            console.print(table)
    return capture.get()


def test_every_stage_has_a_row_and_the_phase_is_named_once() -> None:
    text = printed(forecast())
    assert text.count("tuning") == 1
    assert "micro-batches of 16 rows" in text
    assert "rows that fit into 0.1 GiB" in text
    assert " s " in text


def test_what_does_not_fit_has_no_rows() -> None:
    assert printed(forecast(available=100)).count("none fits") == 4


def test_the_answer_names_stage_rows_and_time() -> None:
    first, second = advice(forecast(), request())
    assert first.startswith("on 2 x 2 h100: hardware.zero_stage=0 takes micro-batches of 16 rows")
    assert second.startswith("the whole training: about")


def test_too_many_rows_are_told_how_many_would_do() -> None:
    found = forecast()
    tight = make_forecast(
        (PHASE,), FOUR, available=found.phases[0].stages[0].memory.total * 3 // 4, speed=SPEED
    )
    (line,) = advice(tight, request())
    assert "16 rows do not fit under any stage" in line
    assert f"{max(fit.rows for fit in tight.fits)} would" in line


def test_where_nothing_fits_the_ways_out_are_those_not_taken() -> None:
    line, start = advice(forecast(available=100), request())
    assert "cannot start: every worker holds the whole model" in start
    for text in ("gradient_checkpointing=true", "precision=bf16", "w/o_Ds", "more GPUs"):
        assert text in line
    taken = ("hardware.gradient_checkpointing=true", "hardware.precision=bf16", "arm=lora")
    line, _ = advice(forecast(available=100), request(*taken))
    assert line.endswith("try more GPUs, fewer tokens per row")

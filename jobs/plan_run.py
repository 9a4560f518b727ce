"""From a request to a forecast, and on to the screen."""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from apt_core.bench.flops import Rates, Rows
from apt_core.capacity.devices import USABLE
from apt_core.capacity.forecast import Forecast, make_forecast
from apt_core.capacity.kept import CPU, GPU
from apt_core.capacity.memory import Division
from apt_core.capacity.phase import Setup, Speed
from apt_core.capacity.shapes import SHAPES
from jobs.common import EXIT_OK, make_console, print_whole, say
from jobs.plan_request import Constants, PlanRequest
from jobs.preflight import hub_train_rows

FORMAT = 1


def say_capacity(request: PlanRequest, *, as_json: bool) -> int:
    """Answer a request.

    Args:
        request: of `make_request`.
        as_json: whether the JSON is printed in place of the tables.

    Returns:
        The exit code: 0 also where nothing fits, which the text and the JSON say.
    """
    forecast = forecast_of(request)
    console = make_console()
    if as_json:
        found = {**facts_of(request), **forecast.to_json()}
        console.file.write(json.dumps(found, indent=2) + "\n")
        return EXIT_OK
    from jobs.plan_table import advice, plan_tables

    for table in plan_tables(forecast):
        print_whole(console, table)
    for line in (*advice(forecast, request), *assumptions(request)):
        say(console, line)
    return EXIT_OK


def facts_of(request: PlanRequest) -> dict[str, Any]:
    """What was asked for, and what the numbers rest on."""
    config = request.config
    return {
        "format": FORMAT,
        "model": request.model,
        "arm": config.arm,
        "ablation": config.ablation,
        "precision": config.hardware.precision,
        "gradient_checkpointing": config.hardware.gradient_checkpointing,
        "cluster": {**asdict(request.cluster), "num_workers": request.cluster.num_workers},
        "num_micro_batches": request.num_micro_batches,
        "seq_len": request.seq_len,
        "constants": None if request.constants is None else asdict(request.constants),
        "assumptions": assumptions(request),
    }


def forecast_of(request: PlanRequest) -> Forecast:
    """The forecast of a request."""
    from apt_core.trainer.build_capacity import planned_phases, subject_of

    rows = Rows(request.micro_batch, request.seq_len, request.target_len)
    with tempfile.TemporaryDirectory() as folder:
        subject = subject_of(request.config, _model_path(request.model, Path(folder)), rows)
    data = request.config.data
    found = hub_train_rows(data.spec)
    train_rows = None if found is None else data.num_trained_rows(found)
    setup = Setup(
        subject.rows,
        subject.width,
        CPU if request.cluster.is_cpu else GPU,
        Division(0, request.cluster.num_workers),
        request.num_micro_batches,
    )
    constants = request.constants
    return make_forecast(
        planned_phases(subject, train_rows=train_rows),
        setup,
        available=round(USABLE * request.cluster.memory_bytes),
        speed=None if constants is None else _speed(constants, request),
        efficiencies={} if constants is None else constants.by_phase,
    )


def _speed(constants: Constants, request: PlanRequest) -> Speed:
    rates = Rates(constants.flops_per_s, constants.bytes_per_s)
    return Speed(rates, request.cluster.link_bytes_per_s, constants.efficiency)


def _model_path(model: str, folder: Path) -> str:
    """Where transformers finds the configuration; that of a named shape is written for it."""
    if model not in SHAPES:
        return model
    (folder / "config.json").write_text(json.dumps(SHAPES[model]), encoding="utf-8")
    return str(folder)


def assumptions(request: PlanRequest) -> list[str]:
    """What the numbers rest on, in words."""
    lines = [
        f"memory: {1 - USABLE:.0%} of the device is left to the driver, the allocator's gaps and "
        "changes of shape",
        "after the cuts: a guess of the shape; heads are taken to stay, neurons and hidden "
        "dimensions to shrink alike",
    ]
    if request.constants is None:
        return [*lines, "time: not known for a CPU without --bench"]
    lines.append(f"time: {request.constants.source}")
    if request.cluster.num_workers > 1:
        link = request.cluster.link_bytes_per_s / 1e9
        lines.append(
            f"communication: {link:.0f} GB/s per device and direction, not overlapped with work"
        )
    return lines

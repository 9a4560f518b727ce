"""Many points from many writers at once, to a real server: none is lost, none is there twice."""

import json
import logging
import multiprocessing
import random
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import pytest

from apt_core.report import StepMetrics
from apt_core.trainer.metric_log import JsonlWriter
from orchestrator.execution.status import TrialState, write_status
from orchestrator.tracking.mlflow_sink import MlflowSink
from orchestrator.tracking.outbox import Shipper
from orchestrator.tracking.server import LocalMlflowServer
from orchestrator.tracking.sink import TrialInfo
from tests.nightly import nightly

pytestmark = pytest.mark.services
logger = logging.getLogger(__name__)

NUM_WRITERS = 8
KEYS_PER_LINE = 20
"""About as many values as a training logs at a step."""
SHOWN = """
select metrics.key, metrics.step, metrics.timestamp, metrics.value from metrics
join tags on tags.run_uuid = metrics.run_uuid and tags.key = 'aptune.run_id'
join runs on runs.run_uuid = metrics.run_uuid and runs.lifecycle_stage = 'active'
where tags.value = ?
"""
Point = tuple[str, int, int, float]


def write_lines(trial: TrialInfo, num_lines: int, pause_s: float) -> None:
    """What a training does to its folder; a process of its own."""
    values = random.Random(trial.run_id)
    write_status(trial.directory, TrialState.RUNNING)
    with JsonlWriter(trial.directory / "metrics.jsonl") as writer:
        for step in range(num_lines):
            line = {f"train/value_{i}": values.random() for i in range(KEYS_PER_LINE)}
            writer.write(StepMetrics(step, time.time_ns() // 1_000_000, line))
            time.sleep(pause_s)
    write_status(trial.directory, TrialState.KILLED, reason="the test is over")


def written(trial: TrialInfo) -> list[Point]:
    text = (trial.directory / "metrics.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    return sorted(
        (key, line["step"], line["time_ms"], value)
        for line in lines
        for key, value in line["values"].items()
    )


def shown(database: Path, trial: TrialInfo) -> list[Point]:
    with sqlite3.connect(database) as connection:
        return sorted(connection.execute(SHOWN, (trial.run_id,)).fetchall())


def check_all_arrive(
    uri: str, database: Path, sweep: TrialInfo, *, num_lines: int, pause_s: float, time_s: float
) -> float:
    """Eight processes write while one thread ships; seconds until everything has arrived."""
    folders = [sweep.directory / "trials" / f"writer{number}" for number in range(NUM_WRITERS)]
    trials = [TrialInfo(path.name, path.name, path, parent=sweep) for path in folders]
    write_status(sweep.directory, TrialState.RUNNING)
    fork = multiprocessing.get_context("fork")  # before the shipper's thread begins
    writers = [fork.Process(target=write_lines, args=(t, num_lines, pause_s)) for t in trials]
    for writer in writers:
        writer.start()
    began = time.monotonic()
    sink = MlflowSink(uri, sweep.run_id)
    sink.open()
    shipper = Shipper(sink, poll_s=0.2)
    for trial in (sweep, *trials):
        shipper.add(trial)
    shipper.start()
    for writer in writers:
        writer.join(time_s)
        assert writer.exitcode == 0
    assert shipper.close(time_s) == []
    took_s = time.monotonic() - began
    for trial in trials:
        expected = written(trial)
        assert len(expected) == num_lines * KEYS_PER_LINE
        assert shown(database, trial) == expected
    return took_s


def test_eight_writers_at_once_lose_and_double_nothing(
    server: LocalMlflowServer, sweep: TrialInfo
) -> None:
    database = server.log_path.with_name("mlflow.db")
    sweep = replace(sweep, run_id="a few points of eight writers")
    check_all_arrive(server.uri, database, sweep, num_lines=25, pause_s=0.02, time_s=120)


@pytest.mark.slow
@nightly("takes half an hour")
@pytest.mark.timeout(4 * 3600)
def test_a_million_points_of_eight_writers_arrive_once(tmp_path: Path, sweep: TrialInfo) -> None:
    num_lines = 1_000_000 // NUM_WRITERS // KEYS_PER_LINE
    with LocalMlflowServer(tmp_path) as server:
        took_s = check_all_arrive(
            server.uri,
            tmp_path / "mlflow.db",
            sweep,
            num_lines=num_lines,
            pause_s=0.0,
            time_s=3.5 * 3600,
        )
    logger.info("a million points took %.0f s", took_s)

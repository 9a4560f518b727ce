"""A benchmark as a run: connected before it begins, delivered when it is over, or not at all."""

import json
from contextlib import contextmanager
from pathlib import Path

import pytest

from apt_core.config import load_config
from apt_core.errors import TrackingError
from jobs.bench_tracked import BENCH_FILE, as_run, bench_metrics, tracked
from orchestrator.execution.status import METRICS_FILE, TrialState, read_status
from orchestrator.tracking.shipment import TrialShipment
from tests.orchestrator.tracking.conftest import MemorySink
from tests.reference.bench_report import REPORT

FOUND = {**REPORT.to_json(), "settings": {"arm": "apt", "density": 0.4, "model": "toy"}}


def test_numbers_have_names_without_commas() -> None:
    metrics = bench_metrics(FOUND)
    assert metrics["bench/step_s/retraining"] == 2.0
    assert metrics["bench/step_ratio/retraining"] == 0.5
    assert metrics["bench/memory_ratio/retraining"] == 0.75
    assert metrics["bench/tensors_gib/control"] == 2.0
    assert metrics["bench/speedup/8x64"] == 2.0
    assert metrics["bench/flops_per_s"] == 200.0
    taught = {**FOUND["training"][0], "phase": "pruning, taught"}
    assert "bench/step_s/pruning_taught" in bench_metrics({**FOUND, "training": [taught]})


def test_a_report_becomes_a_finished_run(tmp_path: Path) -> None:
    trial = as_run(load_config(), tmp_path, FOUND)
    assert read_status(trial.directory).state is TrialState.FINISHED
    assert trial.directory.parent == tmp_path
    sink = MemorySink()
    TrialShipment(trial, sink).advance()
    run = sink.only()
    assert run.state == "FINISHED"
    assert {(key, value) for key, _, _, value in run.points} == set(bench_metrics(FOUND).items())
    assert json.loads(run.artifacts[BENCH_FILE]) == json.loads(json.dumps(FOUND))
    assert trial.name == "bench apt 0.4 toy"
    assert trial.keys["arm"] == "apt"
    assert trial.params["training.batch_size"] == "32"


def test_another_result_is_another_run(tmp_path: Path) -> None:
    first = as_run(load_config(), tmp_path, FOUND)
    second = as_run(load_config(), tmp_path, {**FOUND, "notes": []})
    assert first.run_id != second.run_id
    assert first.directory != second.directory


def test_it_is_connected_first_and_shipped_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []

    class Shipper:
        def add(self, trial) -> None:
            events.append(f"added {(trial.directory / METRICS_FILE).is_file()}")

    @contextmanager
    def opened(uri, *, results_dir, experiment):
        events.append(f"opened {experiment}")
        yield Shipper()
        events.append("flushed")

    monkeypatch.setattr("jobs.bench_tracked.open_tracking", opened)
    with tracked(load_config([], ["name=mine"]), tmp_path, is_on=True) as ship:
        events.append("measured")
        ship(FOUND)
    assert events == ["opened mine", "measured", "added True", "flushed"]


def test_nobody_is_asked_unless_wanted(tmp_path: Path) -> None:
    nowhere = load_config([], ["tracking.uri=http://127.0.0.1:9"])
    with tracked(nowhere, tmp_path, is_on=False) as ship:
        ship(FOUND)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TrackingError, match="tracking"), tracked(nowhere, tmp_path, is_on=True):
        pytest.fail("it must not begin")

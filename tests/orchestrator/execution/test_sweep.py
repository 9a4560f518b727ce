"""A real local cluster, with a stand-in for the training."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import ray

from apt_core.config import ExperimentConfig, config_to_json
from apt_core.errors import ConfigError
from apt_core.trace import recording, span
from orchestrator.execution import sweep
from orchestrator.execution.gauges import SweepGauges
from orchestrator.execution.liveness import ClusterLostError
from orchestrator.execution.placement import Node
from orchestrator.execution.status import TrialState, read_status, trial_state
from orchestrator.execution.stopping import StopSignal
from orchestrator.execution.sweep import SweepSettings, run_sweep
from orchestrator.execution.trial import TrialSpec, WorkerGroup
from orchestrator.goodput import goodput_of
from orchestrator.traces import read_trace
from tests.orchestrator.execution.standin import (
    CRASH_STEP,
    ENTRY,
    NUM_STEPS,
    last_pid,
    make_report,
    starts,
)

REPOSITORY = Path(__file__).parents[3]
DRIVER = """
import logging
import sys
from pathlib import Path
from orchestrator.execution.stopping import StopSignal
from orchestrator.execution.sweep import SweepSettings, run_sweep
from tests.orchestrator.execution.test_sweep import trial

root = Path(sys.argv[1])
logging.basicConfig(filename=root / "said.log", level=logging.INFO)
with StopSignal() as stop:
    outcome = run_sweep([trial(root, "slow")], SweepSettings(root), stop=stop)
sys.exit(0 if outcome.is_complete else 1)
"""


def trial(root: Path, name: str) -> TrialSpec:
    return TrialSpec(
        run_id=f"id-{name}",
        label=f"label of {name}",
        run_dir=root / "trials" / f"id-{name}",
        total_steps=NUM_STEPS,
        config=config_to_json(ExperimentConfig(name=name)),
        command="",
        entry=ENTRY,
    )


def finish(spec: TrialSpec) -> None:
    spec.run_dir.mkdir(parents=True)
    (spec.run_dir / "result.json").write_text(json.dumps(make_report(spec.run_id).to_json()))


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_sweep_retries_a_crash_outlives_failures_and_skips_what_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_metrics_report_interval_ms", "500")
    done, crash, wrong, broken = (
        trial(tmp_path, name) for name in ("done", "crash", "wrong", "broken")
    )
    finish(done)
    gauges, scraped = SweepGauges("mine"), [""]

    def on_poll() -> None:
        gauges.show_lag(1.5)
        scraped.append(scraped[-1] or scrape("ray_aptune_outbox_lag_seconds"))

    with StopSignal() as stop, recording(tmp_path / "trace.json", "me"), span("launch"):
        outcome = run_sweep(
            [done, wrong, broken, crash],
            SweepSettings(tmp_path, max_failures=1),
            stop=stop,
            on_poll=on_poll,
        )

    assert [t.run_id for t in outcome.finished] == ["id-done", "id-crash"]
    assert outcome.skipped == (done,)
    assert starts(done.run_dir) == []
    assert starts(crash.run_dir) == [0, CRASH_STEP]  # went on where it was killed
    assert starts(wrong.run_dir) == [0]  # wrong input is not tried again
    assert starts(broken.run_dir) == [0, 0]
    reasons = {failure.run_id: failure.reason for failure in outcome.failures}
    assert reasons == {"id-wrong": "column 'text' is missing", "id-broken": "worker 0: a defect"}
    assert not outcome.is_complete
    told = (broken.run_dir / "worker.log").read_text()
    assert "RuntimeError: a defect" in told
    assert "ERROR run=id-broken rank=0 orchestrator.execution.worker: trial id-broken" in told
    assert 'sweep="mine"' in scraped[-1]
    assert scraped[-1].endswith(" 1.5")
    check_traces(tmp_path, crash)


def scrape(name: str) -> str:
    """A line of what Prometheus would read from the only node; empty while it is not there."""
    if not ray.is_initialized():
        return ""
    (node,) = ray.nodes()
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as answer:
            lines: list[str] = answer.read().decode().splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith(name + "{")), "")


def check_traces(root: Path, crash: TrialSpec) -> None:
    """Nothing between the launch and the end of a trial that crashed once is left unnamed."""
    record = read_trace(crash.run_dir / "trace.json")
    assert [span.name for span in record.spans] == [
        *("waiting", "start-up", "worker", "imports"),
        *("restart", "worker", "imports", "wind-down"),
    ]
    ends = [span.end_s for span in record.spans if span.name != "imports"]
    begins = [span.start_s for span in record.spans if span.name != "imports"]
    gaps = [begin - end for end, begin in zip(ends, begins[1:], strict=False)]
    assert all(-0.01 < gap < 0.1 for gap in gaps)
    goodput = goodput_of(root, [path.name for path in (root / "trials").iterdir()])
    assert goodput is not None
    assert goodput.slots >= 1
    assert goodput.spent_s.keys() == {
        *("restart", "start-up", "imports", "wind-down", "cluster", "idle", "other"),
    }


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_stopped_and_then_a_killed_sweep_go_on_by_the_same_command(tmp_path: Path) -> None:
    spec = trial(tmp_path, "slow")

    driver = start_driver(tmp_path)
    wait_until(lambda: progress(spec) == 1)
    driver.send_signal(signal.SIGTERM)
    assert driver.wait(60) == 1
    assert read_status(spec.run_dir).state is TrialState.KILLED
    assert read_status(spec.run_dir).reason == "stopped by SIGTERM: stopped at step 1"
    assert "SIGTERM: running trials save their last step" in (tmp_path / "said.log").read_text()
    assert (spec.run_dir / "saved").exists()  # it left by itself: nothing is lost
    wait_until(lambda: not is_alive(last_pid(spec.run_dir)), 20)

    driver = start_driver(tmp_path)
    wait_until(lambda: progress(spec) == 2)
    driver.kill()
    driver.wait()
    wait_until(lambda: not is_alive(last_pid(spec.run_dir)), 30)

    (spec.run_dir / "go").touch()
    assert start_driver(tmp_path).wait(120) == 0
    assert trial_state(spec.run_dir, spec.run_id) is TrialState.FINISHED
    assert starts(spec.run_dir) == [0, 1, 2]


def start_driver(root: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", DRIVER, str(root)], cwd=REPOSITORY)


def progress(spec: TrialSpec) -> int:
    path = spec.run_dir / "checkpoint"
    return int(path.read_text() or 0) if path.exists() else 0


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition: Callable[[], bool], timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.2)


def test_a_finished_sweep_starts_no_ray(tmp_path: Path) -> None:
    spec = trial(tmp_path, "done")
    finish(spec)
    with StopSignal() as stop:
        outcome = run_sweep([spec], SweepSettings(tmp_path), stop=stop)
    assert outcome.is_complete
    assert not (tmp_path / "ray").exists()


def test_a_trial_whose_teacher_has_no_result_fails_without_being_started(tmp_path: Path) -> None:
    taught = replace(trial(tmp_path, "taught"), needs="id-teacher")
    with StopSignal() as stop:
        outcome = run_sweep([taught], SweepSettings(tmp_path), stop=stop)
    (failure,) = outcome.failures
    assert failure.reason == "its teacher, run id-teacher, has no result; see there"
    assert not (tmp_path / "ray").exists()


class LostOnce:
    """`_run_pending` on clusters that die: each time one more trial has its result."""

    def __init__(self, num_losses: int) -> None:
        self.num_losses = num_losses
        self.launches: list[tuple[str, list[str]]] = []

    def __call__(
        self, pending: list[TrialSpec], settings: SweepSettings, launch_dir: Path, **options: object
    ) -> None:
        self.launches.append((launch_dir.name, [trial.run_id for trial in pending]))
        assert {read_status(t.run_dir).launch_id for t in pending} == {launch_dir.name}
        for done in pending[:1]:
            (done.run_dir / "result.json").write_text(
                json.dumps(make_report(done.run_id).to_json())
            )
        if len(self.launches) <= self.num_losses:
            raise ClusterLostError("the private Ray cluster is gone")


def test_what_a_dead_cluster_leaves_goes_to_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = [trial(tmp_path, name) for name in ("a", "b")]
    runs = LostOnce(1)
    monkeypatch.setattr(sweep, "_run_pending", runs)
    with StopSignal() as stop:
        outcome = run_sweep(specs, SweepSettings(tmp_path, max_failures=1), stop=stop)
    assert runs.launches == [("001", ["id-a", "id-b"]), ("002", ["id-b"])]
    assert outcome.is_complete


def test_clusters_that_keep_dying_end_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = LostOnce(9)
    monkeypatch.setattr(sweep, "_run_pending", runs)
    specs = [trial(tmp_path, name) for name in "abcdef"]
    with StopSignal() as stop, pytest.raises(ClusterLostError):
        run_sweep(specs, SweepSettings(tmp_path, max_failures=2), stop=stop)
    assert len(runs.launches) == 3


def test_a_trial_that_never_fits_the_cluster_ends_the_sweep_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def small(address: str | None) -> Iterator[object]:
        assert address == "10.0.0.1:6379"
        yield lambda: (Node("a", cpus=2, gpus=(), memory_gib=64),)

    monkeypatch.setattr("orchestrator.execution.cluster.cluster", small)
    teacher = trial(tmp_path, "teacher")
    taught = replace(
        trial(tmp_path, "taught"), needs=teacher.run_id, workers=WorkerGroup(num_workers=3)
    )
    settings = SweepSettings(tmp_path, address="10.0.0.1:6379")
    with StopSignal() as stop, pytest.raises(ConfigError, match=r"3 workers .* only 2 of them can"):
        run_sweep([teacher, taught], settings, stop=stop)
    assert read_status(teacher.run_dir).state is TrialState.PENDING
    assert starts(teacher.run_dir) == []


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_teachers_finish_before_the_two_workers_of_what_they_teach_begin(tmp_path: Path) -> None:
    teacher = trial(tmp_path, "good")
    two = WorkerGroup(num_workers=2)
    taught = replace(trial(tmp_path, "together"), needs=teacher.run_id, workers=two)
    with StopSignal() as stop:
        outcome = run_sweep([taught, teacher], SweepSettings(tmp_path), stop=stop)
    assert [failure.reason for failure in outcome.failures] == []
    assert outcome.is_complete
    finished_at = (teacher.run_dir / "result.json").stat().st_mtime
    assert (taught.run_dir / "worker.log").stat().st_ctime >= finished_at
    sums = {path.name: path.read_text() for path in taught.run_dir.glob("sum-*")}
    assert sums == {"sum-0": "3", "sum-1": "3"}  # its two workers are in one process group
    assert [path.name for path in sorted((tmp_path / "ray").iterdir())] == ["001", "002"]

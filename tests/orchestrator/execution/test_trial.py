import json
from pathlib import Path

from orchestrator.execution.trial import TrialSpec, WorkerGroup


def test_a_payload_is_plain_json_without_the_configuration() -> None:
    spec = TrialSpec("id", "label", Path("/runs/id"), 10, {"a": 1}, "aptune train", WorkerGroup(2))
    payload = json.loads(json.dumps(spec.payload("004")))
    assert payload["run_dir"] == "/runs/id"
    assert payload["launch_id"] == "004"
    assert payload["stop_file"] is None
    assert spec.payload("004", Path("/runs/stop"))["stop_file"] == "/runs/stop"
    assert WorkerGroup(**payload["workers"]) == spec.workers
    assert "config" not in payload


def test_threads_follow_the_cpus_unless_they_are_set() -> None:
    assert WorkerGroup(cpus_per_worker=4).threads == 4
    assert WorkerGroup(cpus_per_worker=0.5).threads == 1
    assert WorkerGroup(cpus_per_worker=4, num_threads=2).threads == 2


def test_nccl_needs_a_whole_gpu_for_every_worker() -> None:
    assert WorkerGroup().backend == "gloo"
    assert WorkerGroup(gpus_per_worker=0.5).backend == "gloo"
    assert WorkerGroup(gpus_per_worker=1).backend == "nccl"

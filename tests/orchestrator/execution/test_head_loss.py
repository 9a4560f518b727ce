"""The head of a shared cluster is killed and started again; its state is in a real Redis."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from apt_core.config import config_to_json
from tests.deploy_files import compose_services
from tests.nightly import nightly
from tests.ray_head import REPOSITORY, RayHead, ray_head, ray_worker
from tests.servers import HOST, redis
from tests.tiny_run import tiny_experiment
from tests.two_machines import LOOPBACK, Machine

pytestmark = [pytest.mark.ray, pytest.mark.services, pytest.mark.timeout(900)]
PASSWORD = "not-a-secret"
ELSEWHERE = Machine(LOOPBACK[1])
STEPS = 2000


@pytest.fixture
def head(request: pytest.FixtureRequest) -> Iterator[RayHead]:
    told = compose_services()["head"]["environment"]
    with redis(PASSWORD) as server:
        store = {
            "RAY_REDIS_ADDRESS": f"{HOST}:{server.port}",
            "RAY_external_storage_namespace": told["RAY_external_storage_namespace"],
            "RAY_gcs_rpc_server_reconnect_timeout_s": told[
                "RAY_gcs_rpc_server_reconnect_timeout_s"
            ],
        }
        password = f"--redis-password={PASSWORD}"
        with ray_head(store, password, has_dashboard=request.param) as head:
            yield head


@pytest.fixture
def worker(head: RayHead) -> Iterator[None]:
    with ray_worker(head, ELSEWHERE, '--resources={"elsewhere": 1}'):
        yield


def client(head: RayHead, what: str) -> Mapping[str, object]:
    done = run(head, "tests.ray_state", what, head.cluster_address)
    assert done.returncode == 0, done.stdout + done.stderr
    found: Mapping[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def run(head: RayHead, module: str, *args: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", module, *args],
        cwd=REPOSITORY,
        env=dict(head.environment),
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


@nightly("starts a Redis, two heads and a worker node")
@pytest.mark.parametrize("head", [False], indirect=True, ids=[""])
@pytest.mark.usefixtures("worker")
def test_the_successor_of_a_killed_head_knows_its_nodes_actors_and_keys(head: RayHead) -> None:
    before = client(head, "begin")
    head.kill()
    head.start()
    after = client(head, "look")
    assert (before["count"], after["count"]) == (1, 2)  # the actor was not started anew
    assert before["kept"] == after["kept"]
    nodes, nodes_now = before["nodes"], after["nodes"]
    assert isinstance(nodes, dict)
    assert isinstance(nodes_now, dict)
    assert nodes_now[ELSEWHERE.address] == nodes[ELSEWHERE.address]  # it has never left


@pytest.mark.parametrize("head", [True], indirect=True, ids=[""])
@pytest.mark.slow
@nightly("takes minutes")
def test_a_grid_submitted_again_goes_on_where_the_head_died(head: RayHead, tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.yaml"
    config = tiny_experiment(
        tmp_path,
        "arm=ft",
        f"training.max_steps={STEPS}",
        "training.eval_every=500 steps",
        "training.save_every=50 steps",
        "training.log_every=5 steps",
        "hardware.engine=torch",
        "evaluation.measure_efficiency=false",
        "tracking.enabled=false",
        f"orchestration.results_dir={tmp_path / 'runs'}",
        "orchestration.grid=[{seed: 1}]",
    )
    recipe.write_text(yaml.safe_dump(config_to_json(config)))
    submit = ("jobs.cli", "submit", "-c", str(recipe))
    first = run(head, *submit)
    assert first.returncode == 0, first.stderr
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob("runs/*/trials/*/checkpoints/step-*")):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    head.kill()
    head.start()

    (folder,) = tmp_path.glob("runs/*/trials/*")
    assert not (folder / "result.json").exists()
    done = run(head, *submit, "--wait")
    if done.returncode == 1:  # for a moment the new head takes the dead job for a running one
        assert "failed to get job supervisor" in done.stdout + done.stderr
        done = run(head, *submit, "--wait")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "continues as job" in done.stdout  # the successor knows of the first job, and its end
    assert list(tmp_path.glob("runs/*/trials/*")) == [folder]
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in lines]
    assert steps == sorted(set(steps))
    assert json.loads((folder / "result.json").read_text())["total_steps"] == STEPS

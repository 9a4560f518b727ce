import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import ray

from apt_core.errors import ConfigError
from orchestrator.execution import cluster as cluster_module
from orchestrator.execution.cluster import (
    cluster,
    driver_output,
    make_temp_dir,
    nodes_of,
    remove_stale_dirs,
)
from orchestrator.execution.liveness import ClusterLostError
from orchestrator.execution.placement import Node
from orchestrator.telemetry import NO_TELEMETRY


def test_rays_folder_is_short_even_where_the_temporary_folder_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 60)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    folder = make_temp_dir()
    folder.rmdir()
    assert len(str(folder)) < 40


def test_only_folders_of_dead_drivers_are_removed(tmp_path: Path) -> None:
    last_pid = int(Path("/proc/sys/kernel/pid_max").read_text())
    dead, alive, other = (
        tmp_path / name for name in (f"apt-{last_pid + 1}-x", f"apt-{os.getpid()}-x", "apt-get-x")
    )
    for folder in (dead, alive, other):
        folder.mkdir()
    remove_stale_dirs(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([alive, other])


def test_what_is_printed_inside_goes_to_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with driver_output(tmp_path / "driver.log"):
        sys.stdout.write("a banner\n")
    sys.stdout.write("ours\n")
    assert (tmp_path / "driver.log").read_text() == "a banner\n"
    assert capsys.readouterr().out == "ours\n"


GIB = 2**30
HEAD = {"CPU": 4.0, "memory": 8.0 * GIB, "node:__internal_head__": 1.0}
LISTING = [
    {"Alive": True, "NodeManagerHostname": "head", "Resources": HEAD},
    {
        "Alive": True,
        "NodeManagerHostname": "gpus",
        "Resources": {"CPU": 16.0, "GPU": 2.0, "memory": 64.0 * GIB},
    },
    {"Alive": False, "NodeManagerHostname": "dead", "Resources": {}},
]


def test_nodes_are_the_living_ones_and_drivers_sit_on_the_head() -> None:
    assert nodes_of(LISTING) == (
        Node("head", 4, (), 8, holds_drivers=True),
        Node("gpus", 16, (1.0, 1.0), 64, holds_drivers=False),
    )


def test_drivers_sit_on_labelled_nodes_where_there_are_any() -> None:
    labelled = {"CPU": 2.0, "memory": 4.0 * GIB, "aptune_driver": 1000.0}
    nodes = nodes_of(
        [*LISTING, {"Alive": True, "NodeManagerHostname": "drivers", "Resources": labelled}]
    )
    assert [node.name for node in nodes if node.holds_drivers] == ["drivers"]


def test_a_cluster_that_does_not_exist_is_the_users_error() -> None:
    with pytest.raises(ConfigError, match=r"orchestration\.address"), cluster("127.0.0.1:9"):
        pass


def test_a_private_cluster_that_does_not_come_up_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def times_out(**options: object) -> None:
        raise Exception("The current node timed out during startup.")

    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as half:
        monkeypatch.setattr(ray, "init", times_out)
        vital = [psutil.Process(half.pid)]
        monkeypatch.setattr(cluster_module, "vital_processes", lambda: vital)
        with pytest.raises(ClusterLostError, match=r"did not come up: .* timed"), cluster(None):
            pass
        assert half.wait(10) == -signal.SIGKILL


def test_a_private_cluster_without_a_token_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setattr(ray, "init", lambda **options: pytest.fail("it was started"))
    with pytest.raises(ConfigError, match=r"0\.0\.0\.0.*token; unset RAY_AUTH_MODE"), cluster(None):
        pass


def test_a_cluster_of_ours_has_no_dashboard_and_reports_to_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in NO_TELEMETRY:
        monkeypatch.delenv(name, raising=False)
    started: list[dict[str, object]] = []
    monkeypatch.setattr(ray, "init", lambda **options: started.append(options))
    monkeypatch.setattr(ray, "nodes", list)
    with cluster(None) as nodes:
        assert nodes() == ()
        assert {name: os.environ[name] for name in NO_TELEMETRY} == NO_TELEMETRY
    assert started[0]["include_dashboard"] is False


def test_nodes_of_a_shared_cluster_are_asked_for_anew_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listing = LISTING[:1]
    monkeypatch.setattr(ray, "init", lambda **options: None)
    monkeypatch.setattr(ray, "nodes", lambda: listing)
    with cluster("auto") as nodes:
        assert [node.name for node in nodes()] == ["head"]
        listing = LISTING
        assert [node.name for node in nodes()] == ["head", "gpus"]
    with cluster(None) as nodes:  # our own does not change, and must not be asked when it is dead
        listing = []
        assert [node.name for node in nodes()] == ["head", "gpus"]

"""How a trial's workers find each other; real ones do so in the tests of the sweep."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import ray
import torch.distributed as dist
from ray.exceptions import GetTimeoutError, RayActorError
from ray.train import RunConfig, ScalingConfig
from ray.train._internal.utils import get_address_and_port
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from orchestrator.execution import process_group
from orchestrator.execution.process_group import (
    ProcessGroupBackend,
    ProcessGroupConfig,
    TorchWorkersTrainer,
    interface_of,
    join_group,
    leave_group,
)

REPOSITORY = Path(__file__).parents[3]


class Context:
    """Where a worker stands, as Ray tells it."""

    def get_local_rank(self) -> int:
        return 1

    def get_local_world_size(self) -> int:
        return 2

    def get_node_rank(self) -> int:
        return 3


class Group:
    """Workers that note what they are asked to do."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, Any, dict[str, Any]]] = []

    def __len__(self) -> int:
        return 2

    def execute_single(self, rank: int, function: Any) -> Any:
        assert (rank, function) == (0, get_address_and_port)
        return "10.0.0.1", 1234

    def execute_single_async(self, rank: int, function: Any, **arguments: Any) -> int:
        self.asked.append((rank, function, arguments))
        return rank

    def execute_async(self, function: Any) -> list[int]:
        assert function is leave_group
        return [0, 1]


def test_neither_driver_nor_controller_loads_torch() -> None:
    code = (
        "import sys, orchestrator.execution.train_run, orchestrator.execution.process_group; "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False"]


def test_no_process_for_datasets_or_dead_controllers_is_started(tmp_path: Path) -> None:
    def callbacks(kind: type[DataParallelTrainer]) -> list[Any]:
        trainer = kind(
            print,
            backend_config=ProcessGroupConfig("gloo", 60),
            scaling_config=ScalingConfig(num_workers=2),
            run_config=RunConfig(storage_path=str(tmp_path)),
        )
        return [type(callback) for callback in trainer._create_default_callbacks()]

    rays, ours = callbacks(DataParallelTrainer), callbacks(TorchWorkersTrainer)
    assert [kind for kind in rays if kind not in process_group.NOT_NEEDED] == ours
    assert len(ours) == len(rays) - 2


def test_every_worker_is_told_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[list[int]] = []
    monkeypatch.setattr(ray, "get", waited.append)
    group = Group()
    config = ProcessGroupConfig("nccl", 7)
    assert config.backend_cls is ProcessGroupBackend
    ProcessGroupBackend().on_start(group, config)
    assert waited == [[0, 1]]
    for rank, (asked, function, arguments) in enumerate(group.asked):
        assert (asked, function) == (rank, join_group)
        assert arguments == {
            "backend": "nccl",
            "timeout_s": 7,
            "place": {
                "MASTER_ADDR": "10.0.0.1",
                "MASTER_PORT": "1234",
                "RANK": str(rank),
                "WORLD_SIZE": "2",
            },
        }


def test_workers_that_do_not_leave_in_time_are_told_and_other_errors_are_rays(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def get(futures: list[int], timeout: float) -> None:
        assert futures == [0, 1]
        raise errors.pop(0)

    errors = [GetTimeoutError("late"), RayActorError()]
    monkeypatch.setattr(ray, "get", get)
    ProcessGroupBackend().on_shutdown(Group(), ProcessGroupConfig("gloo", 7))
    assert "did not leave their group within 30.0 s" in caplog.text
    with pytest.raises(RayActorError):
        ProcessGroupBackend().on_shutdown(Group(), ProcessGroupConfig("gloo", 7))


def test_a_worker_joins_and_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    _, port = get_address_and_port()
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": "0", "WORLD_SIZE": "1"}
    for name in (*place, "LOCAL_RANK", "LOCAL_WORLD_SIZE", "NODE_RANK"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "")  # or it would not be taken back afterwards
    monkeypatch.delenv("GLOO_SOCKET_IFNAME")
    monkeypatch.setattr(process_group.ray.train, "get_context", Context)
    monkeypatch.setattr(process_group.ray.util, "get_node_ip_address", lambda: "127.0.0.1")
    join_group(place, "gloo", 60)
    assert dist.is_initialized()
    assert {name: os.environ[name] for name in place} == place
    assert [os.environ[n] for n in ("LOCAL_RANK", "LOCAL_WORLD_SIZE", "NODE_RANK")] == list("123")
    assert os.environ["GLOO_SOCKET_IFNAME"] == interface_of("127.0.0.1")
    leave_group()
    assert not dist.is_initialized()
    leave_group()  # one that never joined has nothing to do


def test_the_interface_is_the_one_that_has_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def entry(address: str) -> Any:
        return SimpleNamespace(address=address)

    cards = {"lo": [entry("127.0.0.1")], "ib0": [entry("10.1.0.7"), entry("fe80::7%ib0")]}
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: cards)
    addresses = ("127.0.0.1", "10.1.0.7", "fe80::7", "10.1.0.8")
    assert [interface_of(address) for address in addresses] == ["lo", "ib0", "ib0", None]

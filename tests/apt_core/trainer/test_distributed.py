"""Collectives: nothing happens alone; two workers sum, gather and broadcast."""

import socket
from typing import Any

import pytest
import torch

from apt_core.trainer import distributed
from tests.reference.collective_cases import ASLEEP_S, PATIENCE_S, check_collectives
from tests.spawn import run_workers


def test_without_a_group_collectives_change_nothing() -> None:
    tensors = [torch.ones(2), torch.zeros(3, 1)]
    assert distributed.rank() == 0
    assert distributed.world_size() == 1
    assert all(a is b for a, b in zip(distributed.all_reduce_sum(tensors), tensors, strict=True))
    assert distributed.all_gather_flat(tensors[1]).shape == (1, 3)
    assert distributed.worker_means({"a": 0.1, "b": 2.0}) == {"a": 0.1, "b": 2.0}
    assert distributed.object_from_first(tensors) is tensors
    distributed.broadcast_from_first(tensors)
    distributed.barrier()
    assert tensors[0].eq(1).all()


@pytest.fixture(scope="module")
def two_workers() -> list[dict[str, Any]]:
    """What both found; they start once."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return run_workers(check_collectives, port=port)


@pytest.mark.distributed
def test_two_workers_sum_gather_and_broadcast(two_workers: list[dict[str, Any]]) -> None:
    first, second = two_workers
    # worker r holds [r+1, r+1] and [[10(r+1)]]: sums are 3, 3 and 30
    assert first["sums"] == second["sums"] == [[3.0, 3.0], [[30.0]]]
    assert first["dtypes"] == ["torch.float32", "torch.bfloat16"]
    assert first["gathered"] == second["gathered"] == [[1.0, 1.0], [2.0, 2.0]]
    assert first["broadcast"] == second["broadcast"] == [[1.0, 1.0], [[10.0]]]
    assert first["means"] == second["means"] == {"same": 3.0, "rank": 0.5}
    assert first["object"] == second["object"] == {"from": [0]}
    assert first["group_was_kept"]
    assert [first["rank"], second["rank"]] == [0, 1]


@pytest.mark.distributed
def test_who_waits_for_a_worker_that_hangs_gives_up_in_time(
    two_workers: list[dict[str, Any]],
) -> None:
    told, waited_s = two_workers[0]["told"], two_workers[0]["waited_s"]
    assert ["imed out" in text for text in told] == [True, True], told
    assert 2 * PATIENCE_S - 0.5 < waited_s < ASLEEP_S, told


def test_a_group_of_one_is_made_when_there_is_none_and_left_at_the_end() -> None:
    (result,) = run_workers(check_collectives, num_workers=1)
    assert result["own_group"]


@pytest.mark.parametrize(
    ("backend", "device"), [("nccl", "cuda"), ("gloo", "cpu"), ("cpu:gloo,cuda:nccl", "cpu")]
)
def test_only_a_group_of_nccl_alone_wants_its_tensors_on_the_gpu(
    monkeypatch: pytest.MonkeyPatch, backend: str, device: str
) -> None:
    assert distributed.collective_device() == torch.device("cpu")
    monkeypatch.setattr(distributed, "is_distributed", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_backend", lambda: backend)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    assert distributed.collective_device().type == device

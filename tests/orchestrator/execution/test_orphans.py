"""What a dead controller reserved is free again; what lives keeps what it has."""

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.util.placement_group import placement_group, placement_group_table

from orchestrator.execution import orphans
from orchestrator.execution.cluster import cluster
from orchestrator.execution.orphans import FreeOrphans, free_orphans

pytestmark = pytest.mark.ray
TIMEOUT_S = 60


@ray.remote(num_cpus=0)
class Maker:
    """Reserves, as Ray Train's controller does: by itself, without telling anybody."""

    def reserve(self) -> str:
        group = placement_group([{"CPU": 1}])
        ray.get(group.ready())
        return str(group.id.hex())


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    with cluster(None):
        yield


def state_of(group: str) -> str:
    return str(placement_group_table()[group]["state"])


def wait_until_dead(maker: Any) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not orphans._is_dead(maker._actor_id.hex()):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_only_what_the_dead_have_reserved_is_freed() -> None:
    dead, alive = Maker.remote(), Maker.remote()
    lost, kept = ray.get([dead.reserve.remote(), alive.reserve.remote()])
    own = placement_group([{"CPU": 0.001}])
    assert free_orphans() == 0
    ray.kill(dead)
    wait_until_dead(dead)
    # The reason for all this: Ray itself leaves it as it is.
    assert state_of(lost) == "CREATED"
    assert free_orphans() == 1
    assert [state_of(group) for group in (lost, kept, own.id.hex())] == [
        "REMOVED",
        "CREATED",
        "PENDING",
    ]
    assert free_orphans() == 0
    ray.util.remove_placement_group(own)
    ray.kill(alive)
    wait_until_dead(alive)
    assert free_orphans() == 1


def test_tunes_callback_looks_now_and_then(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looks: list[int] = []
    clock = iter([5.0, 5.0, 5.5, 6.9, 7.0, 7.0, 8.9, 9.5, 9.5])

    def look() -> int:
        looks.append(step)
        return len(looks) - 1

    monkeypatch.setattr(orphans, "free_orphans", look)
    monkeypatch.setattr(orphans, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    caplog.set_level("INFO")
    callback = FreeOrphans()
    # A look reads the clock twice: at 5.0, 7.0 and 9.5 seconds.
    for step in range(6):
        callback.on_step_begin(step, [])
    assert looks == [0, 3, 5]
    assert caplog.messages == [
        f"reservations of dead controllers that were freed: {n}" for n in (1, 2)
    ]

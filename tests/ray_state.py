"""Clients of the cluster in `test_head_loss.py`, each in a process of its own.

python -m tests.ray_state begin|look ADDRESS
"""

import json
import sys
import time

import ray
from ray.experimental.internal_kv import _internal_kv_get, _internal_kv_put

NAMESPACE = "aptune-test"
KEY, VALUE = "aptune:kept", "by the head's successor"


@ray.remote(resources={"elsewhere": 1}, num_cpus=0)
class Counter:
    """State in the memory of a worker node."""

    def __init__(self) -> None:
        self.count = 0

    def next(self) -> int:
        self.count += 1
        return self.count


def begin() -> dict[str, object]:
    """Leave something with the worker node, and something with the head."""
    counter = Counter.options(name="counter", lifetime="detached").remote()
    _internal_kv_put(KEY, VALUE, True)
    return look(counter)


def look(counter: object = None) -> dict[str, object]:
    """Count once more; what a client finds in the cluster."""
    found = counter or ray.get_actor("counter")
    count = ray.get(found.next.remote(), timeout=200)
    alive = {node["NodeManagerAddress"]: node["NodeID"] for node in ray.nodes() if node["Alive"]}
    return {"count": count, "kept": _internal_kv_get(KEY).decode(), "nodes": alive}


def connect(address: str, timeout_s: float = 200) -> None:
    """Ray itself asks a few seconds only whether a node is there."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            ray.init(address=address, namespace=NAMESPACE, log_to_driver=False)
        except (ConnectionError, RuntimeError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            return


if __name__ == "__main__":
    connect(sys.argv[2])
    found = {"begin": begin, "look": look}[sys.argv[1]]()
    sys.stdout.write(json.dumps(found) + "\n")

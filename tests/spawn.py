"""Run a function in fresh worker processes joined by gloo, from a plain pytest function.

The workers meet through a file, so no port can collide. The function must be importable by name
(put it under ``tests/reference``), take JSON arguments and return JSON.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parent.parent


def run_workers(
    function: Callable[..., Any], *, num_workers: int = 2, timeout_s: float = 240, **arguments: Any
) -> list[Any]:
    """Call ``function(**arguments)`` on every worker and return what each returned, by rank.

    Args:
        function: A module-level function of an importable module.
        num_workers: Processes to start; 1 is allowed and gives a fresh interpreter with a group of
            one.
        timeout_s: All workers are killed and the test fails when they take longer.
        arguments: JSON-able keyword arguments, the same for every worker.

    Returns:
        One result per worker.

    Raises:
        AssertionError: When a worker fails or the time is up; carries the workers' output.
    """
    with tempfile.TemporaryDirectory() as folder:
        call = {"module": function.__module__, "name": function.__name__, "arguments": arguments}
        Path(folder, "call.json").write_text(json.dumps(call), encoding="utf-8")
        workers = [_start(folder, rank, num_workers) for rank in range(num_workers)]
        try:
            finished = _wait(workers, time.monotonic() + timeout_s)
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
        if not finished or any(worker.returncode for worker in workers):
            why = "failed" if finished else f"did not end within {timeout_s} s"
            raise AssertionError(f"workers {why}\n" + _outputs(folder, num_workers))
        return [
            json.loads(Path(folder, f"result-{rank}.json").read_text(encoding="utf-8"))
            for rank in range(num_workers)
        ]


def _start(folder: str, rank: int, num_workers: int) -> subprocess.Popen[bytes]:
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": num_workers, "OMP_NUM_THREADS": 1}
    with open(Path(folder, f"output-{rank}.txt"), "wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.spawn", folder],
            cwd=REPOSITORY,
            env=os.environ | {name: str(number) for name, number in numbers.items()},
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def _wait(workers: list[subprocess.Popen[bytes]], deadline: float) -> bool:
    """Until all have ended or one has failed; False when the time is up."""
    while time.monotonic() < deadline:
        codes = [worker.poll() for worker in workers]
        if any(codes) or None not in codes:
            return True
        time.sleep(0.02)
    return False


def _outputs(folder: str, num_workers: int) -> str:
    texts = (Path(folder, f"output-{rank}.txt").read_text("utf-8") for rank in range(num_workers))
    return "\n".join(f"--- worker {rank}\n{text[-6000:]}" for rank, text in enumerate(texts))


def _work(folder: str) -> None:
    import torch.distributed as dist

    rank, num_workers = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=num_workers,
        timeout=timedelta(seconds=60),
    )
    call = json.loads(Path(folder, "call.json").read_text(encoding="utf-8"))
    function = getattr(importlib.import_module(call["module"]), call["name"])
    result = function(**call["arguments"])
    Path(folder, f"result-{rank}.json").write_text(json.dumps(result), encoding="utf-8")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    _work(sys.argv[1])

"""Run a function in fresh worker processes joined by gloo, from a plain pytest function.

The workers meet through a file, so no port can collide. The function must be importable by name
(put it under ``tests/reference``), take JSON arguments and return JSON.

Workers are copies of a process that has imported the libraries and done nothing else, so each
starts in a fraction of a second instead of the ten that the imports take.
"""

import gc
import importlib
import json
import multiprocessing
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parent.parent
IMPORTED = (
    "apt_core.trainer.build",
    "apt_core.trainer.deepspeed_engine",
    "deepspeed.runtime.superoffload.superoffload_stage3",
    "deepspeed.runtime.zero.muon.muon_optimizer",
    "pandas",
    "transformers.models.bert.modeling_bert",
    "transformers.models.llama.modeling_llama",
    "transformers.models.roberta.modeling_roberta",
    "transformers.models.t5.modeling_t5",
)
"""With what libraries import only at their first use, as far as it takes time."""
_FRESH = multiprocessing.get_context("forkserver")
_FRESH.set_forkserver_preload(list(IMPORTED))


def run_workers(
    function: Callable[..., Any], *, num_workers: int = 2, timeout_s: float = 240, **arguments: Any
) -> list[Any]:
    """Call ``function(**arguments)`` on every worker and return what each returned, by rank.

    Args:
        function: A module-level function of an importable module.
        num_workers: Processes to start; 1 is allowed and gives a fresh process with a group of one.
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
                worker.join()
        if not finished or any(worker.exitcode for worker in workers):
            why = "failed" if finished else f"did not end within {timeout_s} s"
            raise AssertionError(f"workers {why}\n" + _outputs(folder, num_workers))
        return [
            json.loads(Path(folder, f"result-{rank}.json").read_text(encoding="utf-8"))
            for rank in range(num_workers)
        ]


def _start(folder: str, rank: int, num_workers: int) -> ForkServerProcess:
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": num_workers, "OMP_NUM_THREADS": 1}
    environment = os.environ | {name: str(number) for name, number in numbers.items()}
    Path(folder, f"output-{rank}.txt").touch()  # even of a worker that dies before it says a word
    worker = _FRESH.Process(target=_work, args=(folder, environment))
    worker.start()
    return worker


def _wait(workers: list[ForkServerProcess], deadline: float) -> bool:
    """Until all have ended or one has failed; False when the time is up."""
    while time.monotonic() < deadline:
        codes = [worker.exitcode for worker in workers]
        if any(codes) or None not in codes:
            return True
        time.sleep(0.02)
    return False


def _outputs(folder: str, num_workers: int) -> str:
    texts = (Path(folder, f"output-{rank}.txt").read_text("utf-8") for rank in range(num_workers))
    return "\n".join(f"--- worker {rank}\n{text[-6000:]}" for rank, text in enumerate(texts))


def _work(folder: str, environment: dict[str, str]) -> None:
    """The whole life of a worker; all it says goes to its file."""
    output = os.open(Path(folder, f"output-{environment['RANK']}.txt"), os.O_WRONLY | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    sys.stdout = sys.stderr = os.fdopen(output, "w", buffering=1)
    os.chdir(REPOSITORY)
    os.environ.clear()
    os.environ.update(environment)
    gc.freeze()  # what was imported stays: DeepSpeed collects garbage with every engine it makes
    try:
        _call(folder)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def _call(folder: str) -> None:
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

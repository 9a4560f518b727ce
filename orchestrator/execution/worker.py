"""What runs inside one training worker: prepare the process, train, leave a verdict.

No ray here: the same function serves Ray Train workers and `aptune train --local`.
"""

import importlib
import json
import logging
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from apt_core.errors import DeviceMemoryError, TrainingError, TrainingStoppedError, UserError
from apt_core.files import tell_refusals
from orchestrator.execution.lock import only_training
from orchestrator.execution.status import (
    CONFIG_FILE,
    WORKER_LOG,
    TrialState,
    read_status,
    write_status,
)
from orchestrator.execution.stopping import StopFile
from orchestrator.execution.trial import WorkerGroup

logger = logging.getLogger(__name__)


def train_in_worker(payload: Mapping[str, Any]) -> None:
    """Train the trial of `payload` (see `TrialSpec.payload`), with all output in its folder.

    Whatever the training raises is raised again; its traceback stands in the worker's log. Being
    stopped is no error: Ray would try again.

    Args:
        payload: The trial, as plain data.

    Raises:
        BaseException: What the training raised.
    """
    rank = int(os.environ.get("RANK", "0"))
    run_dir = Path(payload["run_dir"])
    redirect_output(run_dir / (WORKER_LOG if rank == 0 else f"worker-{rank}.log"))
    try:
        run_payload(payload, rank=rank, should_stop=StopFile(Path(payload["stop_file"])))
    except TrainingStoppedError as stopped:
        logger.info("trial %s: %s", payload["run_id"], stopped)
    except BaseException:
        logger.exception("trial %s ended with an error", payload["run_id"])
        raise


def run_payload(
    payload: Mapping[str, Any],
    *,
    rank: int,
    should_stop: Callable[[], bool] = lambda: False,
    **options: Any,
) -> Any:
    """Train in this process and keep `status.json`; returns what the training function returns.

    Args:
        payload: The trial, as plain data.
        rank: This worker's rank; rank 0 keeps the status.
        should_stop: Looked at between steps; once true, the training saves and leaves.
        **options: Further keyword arguments for the training function, e.g. ``callbacks``.

    Returns:
        The report, or None if an earlier attempt of this launch found the input to be wrong.

    Raises:
        UserError: If the input is wrong. It is recorded, so that a retry returns at once.
        TrainingError: If its loss is no number; recorded alike: resumed, it would go wrong again.
        AptError: If storage or GPU memory do not suffice; not recorded: another attempt may do.
        TrainingStoppedError: If it was asked to stop; the trial is then KILLED, or still PENDING.
    """
    run_dir, launch_id = Path(payload["run_dir"]), payload["launch_id"]
    if is_rejected(run_dir, launch_id):
        return None
    if should_stop():
        raise TrainingStoppedError("stopped before it began")
    prepare_process(WorkerGroup(**payload["workers"]))
    node = platform.node()
    if rank == 0:
        write_status(run_dir, TrialState.RUNNING, launch_id=launch_id, node=node)
    try:
        # Before anything is read or written in the folder; the other ranks wait at a barrier.
        with only_training(run_dir) if rank == 0 else nullcontext():
            report = _train(payload, run_dir, should_stop=should_stop, **options)
    except TrainingStoppedError as stopped:
        if rank == 0:
            reason = str(stopped)
            write_status(run_dir, TrialState.KILLED, reason=reason, launch_id=launch_id, node=node)
        raise
    except (UserError, TrainingError) as error:
        write_status(
            run_dir, TrialState.FAILED, reason=str(error), launch_id=launch_id, rejected=True
        )
        raise
    if rank == 0:
        write_status(run_dir, TrialState.FINISHED, launch_id=launch_id, node=node)
    return report


def _train(payload: Mapping[str, Any], run_dir: Path, **options: Any) -> Any:
    train = load_entry(payload["entry"])
    with tell_refusals(run_dir), _tell_memory():
        return train(
            load_config(run_dir),
            run_dir=run_dir,
            run_id=payload["run_id"],
            command=payload["command"],
            **options,
        )


@contextmanager
def _tell_memory() -> Iterator[None]:
    """A full GPU is told with advice. Nothing shrinks by itself: it would be another run.

    The sums of two micro-batches are not, bit for bit, those of one; so the size of a micro-batch
    is a part of a run's identity, and it is the user who changes it.
    """
    try:
        yield
    except Exception as error:
        torch = sys.modules.get("torch")
        if torch is None or not isinstance(error, torch.OutOfMemoryError):
            raise
        raise DeviceMemoryError(
            f"{str(error).splitlines()[0]} To need less: lower training.micro_batch_size, set "
            "hardware.gradient_checkpointing=true or hardware.precision=bf16, raise "
            "hardware.zero_stage, or give every worker a whole GPU (hardware.gpus_per_worker=1)"
        ) from error


def is_rejected(run_dir: Path, launch_id: str) -> bool:
    """Whether this launch already found the trial's input to be wrong."""
    status = read_status(run_dir)
    return status.rejected and status.launch_id == launch_id


def load_config(run_dir: Path) -> Any:
    """The trial's resolved configuration."""
    from apt_core.config import config_from_json

    return config_from_json(json.loads((run_dir / CONFIG_FILE).read_text(encoding="utf-8")))


def load_entry(entry: str) -> Callable[..., Any]:
    """Import the training function that ``module:function`` names."""
    module, _, function = entry.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


def prepare_process(workers: WorkerGroup) -> None:
    """Set what must be set before torch computes and before DeepSpeed looks for a device."""
    os.environ["OMP_NUM_THREADS"] = str(workers.threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    if workers.gpus_per_worker == 0:
        os.environ["DS_ACCELERATOR"] = "cpu"
    if "torch" in sys.modules:  # Ray imported it already: the environment alone would come too late
        sys.modules["torch"].set_num_threads(workers.threads)


def redirect_output(log: Path) -> None:
    """Append everything this process prints or logs from now on, C libraries included, to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        force=True,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )

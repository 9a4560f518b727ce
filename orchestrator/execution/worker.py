"""What runs inside one training worker: prepare the process, train, leave a verdict.

No ray here: the same function serves Ray Train workers and `aptune train --local`.
"""

import importlib
import json
import logging
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from apt_core.allocator import keep_freed_memory
from apt_core.errors import DeviceMemoryError, TrainingError, TrainingStoppedError, UserError
from apt_core.files import tell_refusals
from apt_core.trace import span
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
from orchestrator.execution.trial_trace import traced_attempt
from orchestrator.telemetry import switch_off_telemetry

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
    log = run_dir / (WORKER_LOG if rank == 0 else f"worker-{rank}.log")
    redirect_output(log, log_format(payload["run_id"], rank))
    try:
        run_payload(
            payload,
            rank=rank,
            should_stop=StopFile(Path(payload["stop_file"])),
            callbacks=gauges_of(payload) if rank == 0 else (),
        )
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
    tell = partial(write_status, run_dir, launch_id=launch_id, node=platform.node())
    if rank == 0:
        tell(TrialState.RUNNING)
    try:
        # Before anything is read or written in the folder; the other ranks wait at a barrier.
        with _alone(payload, run_dir) if rank == 0 else nullcontext():
            report = _train(payload, run_dir, should_stop=should_stop, **options)
    except TrainingStoppedError as stopped:
        if rank == 0:
            tell(TrialState.KILLED, reason=str(stopped))
        raise
    except (UserError, TrainingError) as error:
        tell(TrialState.FAILED, reason=str(error), rejected=True)
        raise
    if rank == 0:
        tell(TrialState.FINISHED)
    return report


@contextmanager
def _alone(payload: Mapping[str, Any], run_dir: Path) -> Iterator[None]:
    """Inside the block nobody else trains the trial, and its trace is written."""
    with only_training(run_dir), traced_attempt(payload):
        yield


def _train(payload: Mapping[str, Any], run_dir: Path, **options: Any) -> Any:
    with span("imports"):
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


def gauges_of(payload: Mapping[str, Any]) -> Sequence[Any]:
    """The callbacks that show a trial to Prometheus; none where its arm cannot be read."""
    from orchestrator.execution.trial_gauges import TrialGauges  # imports torch, as Ray did before

    try:
        config = json.loads((Path(payload["run_dir"]) / CONFIG_FILE).read_text(encoding="utf-8"))
        return (TrialGauges(payload["run_id"], str(config["arm"])),)
    except (OSError, ValueError, KeyError) as error:
        logger.warning("no metrics for Prometheus: %s", error)
        return ()


def load_entry(entry: str) -> Callable[..., Any]:
    """Import the training function that ``module:function`` names."""
    module, _, function = entry.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


def prepare_process(workers: WorkerGroup) -> None:
    """Set what must be set before torch computes and before DeepSpeed looks for a device."""
    os.environ["OMP_NUM_THREADS"] = str(workers.threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    switch_off_telemetry()
    keep_freed_memory()
    if workers.gpus_per_worker == 0:
        os.environ["DS_ACCELERATOR"] = "cpu"
    if "torch" in sys.modules:  # Ray imported it already: the environment alone would come too late
        sys.modules["torch"].set_num_threads(workers.threads)


def redirect_output(log: Path, line_format: str) -> None:
    """Append everything this process prints or logs from now on, C libraries included, to `log`.

    Args:
        log: The file; made with its folder if there is none.
        line_format: Of logged lines, see `log_format`.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    formatter = logging.Formatter(line_format, datefmt="%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def log_format(run_id: str, rank: int) -> str:
    """How workers log, in one line: time (UTC), level, ``run=``, ``rank=``, who, what.

    Args:
        run_id: The trial.
        rank: The worker's rank in it.

    Returns:
        A format for `logging.Formatter`.
    """
    return f"%(asctime)s.%(msecs)03dZ %(levelname)s run={run_id} rank={rank} %(name)s: %(message)s"

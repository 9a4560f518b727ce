"""`aptune train --local`: the very same training in this process; no Ray, no tracking."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta

from rich.console import Console

from apt_core.errors import ConfigError, StorageError, TrainingStoppedError
from apt_core.files import write_json
from apt_core.trace import TRACE_FILE, recording, span
from apt_core.trainer.callbacks import Callback
from apt_core.trainer.state import TrainerState
from jobs.common import EXIT_FAILED, EXIT_OK, make_console, say, say_error
from jobs.launch import (
    log_to,
    only_driver_of,
    record_members,
    say_goodput,
    show_report,
    warn_of_slowness,
)
from jobs.planning import Plan
from orchestrator.execution.status import (
    CONFIG_FILE,
    TrialState,
    trial_state,
    write_status,
)
from orchestrator.execution.stopping import StopSignal
from orchestrator.execution.trial import TrialSpec, WorkerGroup
from orchestrator.execution.worker import prepare_process, run_payload
from orchestrator.progress import duration_text

LAUNCH_ID = "local"
LINE_EVERY_S = 5.0
SHOWN = ("train/loss", "model/sparsity", "eval/metric")


class ProgressLines(Callback):
    """Prints a line at every evaluation and every few seconds.

    Args:
        console: Where to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started_at = self._printed_at = time.monotonic()
        self._first_step = 0

    def on_train_start(self, state: TrainerState) -> None:
        """Say where training begins."""
        self._first_step = state.step
        if state.step:
            say(self._console, f"resumed at step {state.step}")

    def on_step_end(self, state: TrainerState, metrics: Mapping[str, float]) -> None:
        """Print what was logged, not too often."""
        now = time.monotonic()
        is_due = "eval/metric" in metrics or now - self._printed_at >= LINE_EVERY_S
        if not metrics or not is_due:
            return
        self._printed_at = now
        values = [f"{name} {metrics[name]:.4f}" for name in SHOWN if name in metrics]
        left = (now - self._started_at) / (state.step - self._first_step)
        left *= state.total_steps - state.step
        step = f"step {state.step}/{state.total_steps}"
        say(self._console, ", ".join([step, *values, f"{duration_text(left)} left"]))


def run_here(plan: Plan) -> int:
    """Train the plan's one trial in this process; under torchrun, as one of its workers.

    Args:
        plan: A plan with one trial.

    Returns:
        The exit code: 1 if SIGINT or SIGTERM stopped it, which costs nothing but the time.
    """
    rank = int(os.environ.get("RANK", "0"))
    check_world_size(plan.trials[0].spec.workers)
    console = make_console()
    log_to(console)
    if rank != 0:
        return _run(plan, rank, console)
    warn_of_slowness(plan)
    trace = plan.sweep_dir / TRACE_FILE
    with only_driver_of(plan), recording(trace, "aptune train --local"), span("launch"):
        code = _run(plan, rank, console)
    if code == EXIT_OK:
        say_goodput(plan.sweep_dir, console)
    return code


def _run(plan: Plan, rank: int, console: Console) -> int:
    spec = plan.trials[0].spec
    if trial_state(spec.run_dir, spec.run_id) is not TrialState.FINISHED:
        try:
            with span("trials", slots=1):
                _train(spec, rank, [ProgressLines(console)] if rank == 0 else [])
        except TrainingStoppedError as stopped:
            if rank == 0:
                say_error(str(stopped))
            return EXIT_FAILED
    elif rank == 0:
        say(console, f"{spec.label} ({spec.run_id}) is finished; nothing to do")
    if rank == 0:
        record_members(plan)
        show_report(plan.sweep_dir, console)
    return EXIT_OK


def check_world_size(workers: WorkerGroup) -> None:
    """Compare the processes that torchrun started with the configuration.

    Args:
        workers: The trial's workers.

    Raises:
        ConfigError: If they differ in number.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size != workers.num_workers:
        raise ConfigError(
            f"hardware.num_workers: is {workers.num_workers}, but {world_size} process(es) were "
            f"started; run torchrun --nproc-per-node {workers.num_workers} -m -- jobs.train "
            f"--local ..., or set hardware.num_workers={world_size}"
        )


def _train(spec: TrialSpec, rank: int, callbacks: list[Callback]) -> None:
    if rank == 0:
        write_json(spec.run_dir / CONFIG_FILE, spec.config)
        write_status(spec.run_dir, TrialState.PENDING, launch_id=LAUNCH_ID)
    prepare_process(spec.workers)
    try:
        with StopSignal() as stop, process_group(spec.workers):
            run_payload(
                spec.payload(LAUNCH_ID),
                rank=rank,
                should_stop=lambda: stop.requested,
                callbacks=callbacks,
            )
    except TrainingStoppedError:
        raise  # its status is written
    except KeyboardInterrupt:
        write_status(spec.run_dir, TrialState.KILLED, reason="interrupted", launch_id=LAUNCH_ID)
        raise
    except Exception as error:
        reason = f"worker {rank}: {error}"
        with suppress(StorageError):  # what is told is why the training ends
            write_status(spec.run_dir, TrialState.FAILED, reason=reason, launch_id=LAUNCH_ID)
        raise


@contextmanager
def process_group(workers: WorkerGroup) -> Iterator[None]:
    """The process group of torchrun's workers; a single process needs none.

    Args:
        workers: How many there are, how they talk, and how long they wait for each other.

    Yields:
        None: Once all of them are there.
    """
    if workers.num_workers == 1:
        yield
        return
    import torch.distributed as dist

    timeout = timedelta(seconds=workers.collective_timeout_s)
    dist.init_process_group(workers.backend, timeout=timeout)
    try:
        yield
    finally:
        dist.destroy_process_group()

"""A training function for tests of the execution: as fast as we like, and it fails on demand.

What it does is the configuration's name: ``crash`` kills its process once, ``wrong`` has wrong
input, ``diverging`` has no finite loss, ``broken`` raises always, ``slow`` waits after its first
step for a file ``go``, ``hang`` keeps all but worker 0 asleep once, ``together`` adds up the ranks
of its workers, anything else just trains.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from apt_core.config import ExperimentConfig
from apt_core.errors import DataError, TrainingError, TrainingStoppedError
from apt_core.report import Efficiency, RunReport, StepMetrics

ENTRY = "tests.orchestrator.execution.standin:train"
NUM_STEPS = 6
CRASH_STEP = 3
ERRORS = {
    "wrong": DataError("column 'text' is missing"),
    "diverging": TrainingError("the loss is nan; lower training.learning_rate"),
    "broken": RuntimeError("a defect"),
}


def train(
    config: ExperimentConfig,
    *,
    run_dir: Path,
    run_id: str,
    command: str = "",
    callbacks: Sequence[Any] = (),
    should_stop: Callable[[], bool] | None = None,
) -> RunReport:
    """Count to `NUM_STEPS`, from the checkpoint if there is one."""
    checkpoint = run_dir / "checkpoint"
    first = int(checkpoint.read_text()) if checkpoint.exists() else 0
    with (run_dir / "starts").open("a") as file:
        file.write(f"{first} {os.getpid()}\n")
    begin(config.name, run_dir)
    for step in range(first + 1, NUM_STEPS + 1):
        time.sleep(0.02)
        checkpoint.write_text(str(step))
        if os.environ.get("RANK", "0") == "0":
            log(run_dir, step)
        while config.name == "slow" and not (run_dir / "go").exists():
            time.sleep(0.05)
            if should_stop is not None and should_stop():
                (run_dir / "saved").touch()
                raise TrainingStoppedError(f"stopped at step {step}")
        if config.name == "hang":
            wait_for_the_others(is_asleep=first == 0 and step == CRASH_STEP)
        if config.name == "crash" and first == 0 and step == CRASH_STEP:
            os.kill(os.getpid(), signal.SIGKILL)
    report = make_report(run_id, command)
    if os.environ.get("RANK", "0") == "0":
        (run_dir / "result.json").write_text(json.dumps(report.to_json()))
    return report


def begin(name: str, run_dir: Path) -> None:
    """What goes wrong at once, or is done once."""
    if name in ERRORS:
        raise ERRORS[name]
    if name == "together":
        add_up(run_dir)
    if name == "hang":
        # All have read the one checkpoint before the first of them writes it again.
        meet()


def add_up(run_dir: Path) -> None:
    """Only workers that are in one group all know the sum."""
    import torch
    import torch.distributed as dist

    rank = os.environ["RANK"]
    total = torch.tensor(int(rank) + 1)
    dist.all_reduce(total)
    (run_dir / f"sum-{rank}").write_text(str(int(total)))


def wait_for_the_others(*, is_asleep: bool) -> None:
    """Meet them, unless this worker has fallen asleep."""
    if is_asleep and os.environ["RANK"] != "0":
        time.sleep(3600)
    meet()


def meet() -> None:
    """Wait until all workers are here."""
    import torch.distributed as dist

    dist.barrier()


def log(run_dir: Path, step: int) -> None:
    """Append one line to the metric log."""
    values = {"train/loss": 1.0 / step, "eval/metric": step / 10}
    line = StepMetrics(step, int(time.time() * 1000), values)
    with (run_dir / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(line.to_json()) + "\n")


def make_report(run_id: str, command: str = "") -> RunReport:
    """A valid report."""
    return RunReport(
        run_id=run_id,
        name="test",
        arm="ft",
        ablation="full",
        model="toy",
        dataset="toy_sentiment",
        seed=1,
        target_sparsity=0.0,
        sparsity=0.0,
        metric_name="accuracy",
        metric=0.9,
        metrics={"accuracy": 0.9},
        total_steps=NUM_STEPS,
        train_time_s=1.0,
        eval_time_s=0.5,
        efficiency=Efficiency(100, 200, 50, 1000, 0.5),
        command=command,
    )


def starts(run_dir: Path) -> list[int]:
    """The step at which each attempt began."""
    path = run_dir / "starts"
    return [int(line.split()[0]) for line in path.read_text().splitlines()] if path.exists() else []


def last_pid(run_dir: Path) -> int:
    """The process of the last attempt."""
    return int((run_dir / "starts").read_text().split()[-1])

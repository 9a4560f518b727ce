"""Running a plan: the sweep with progress and tracking, then the report."""

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.logging import RichHandler

from apt_core.config import config_to_json
from apt_core.errors import StorageError
from apt_core.files import tell_refusals, write_json
from apt_core.trace import TRACE_FILE, recording, span
from jobs.common import EXIT_FAILED, EXIT_OK, make_console, say, say_error
from jobs.mirrored import mirroring
from jobs.planning import Plan
from jobs.tracked import tracking
from orchestrator.execution.gauges import SweepGauges
from orchestrator.execution.local_node import num_local_cpus
from orchestrator.execution.lock import only_driver
from orchestrator.execution.status import (
    CONFIG_FILE,
    SWEEP_FILE,
    TrialState,
    write_status,
)
from orchestrator.execution.stopping import StopSignal
from orchestrator.execution.sweep import SweepOutcome, run_sweep
from orchestrator.execution.trial import TrialSpec
from orchestrator.goodput import goodput_lines, goodput_of
from orchestrator.progress import SweepProgress
from orchestrator.sweep_status import members_of

logger = logging.getLogger(__name__)

MAX_DRAWING = 8
"""Processes that draw a large report's figures, about 120 MiB each."""


def launch(plan: Plan) -> int:
    """Run all trials of a plan, write the report and say where everything is.

    Args:
        plan: A plan that passed preflight.

    Returns:
        The exit code: 1 if a trial failed or the sweep was stopped.
    """
    console = make_console()
    log_to(console)
    warn_of_slowness(plan)
    with only_driver_of(plan):
        record_members(plan)
        with recording(plan.sweep_dir / TRACE_FILE, f"sweep {plan.config.name}"), span("launch"):
            outcome = _run(plan, console)
    say_goodput(plan.sweep_dir, console)
    _say_where(plan, console)
    return _verdict(outcome, len(plan.trials))


@contextmanager
def only_driver_of(plan: Plan) -> Iterator[None]:
    """Inside the block nobody else runs these trials; single trainings may share a sweep's folder.

    Args:
        plan: What is to be run.

    Yields:
        None: Once that is sure.

    Raises:
        UserError: If somebody else runs one of them.
    """
    is_grid = bool(plan.config.orchestration.grid)
    with ExitStack() as stack:
        stack.enter_context(only_driver(plan.sweep_dir, shared=not is_grid))
        for spec in () if is_grid else plan.specs:
            stack.enter_context(only_driver(spec.run_dir))
        yield


def _run(plan: Plan, console: Console) -> SweepOutcome:
    with StopSignal() as stop, mirroring(plan, stop), tracking(plan) as tracker:
        write_status(plan.sweep_dir, TrialState.RUNNING)
        gauges = SweepGauges(plan.config.name)
        try:
            with SweepProgress(plan.specs, console) as progress:

                def on_poll() -> None:
                    if tracker is not None:
                        tracker.check()
                        gauges.show_lag(tracker.lag_s)
                    progress.refresh()

                outcome = run_sweep(plan.specs, plan.settings, stop=stop, on_poll=on_poll)
            show_report(plan.sweep_dir, console)
            _end_sweep(plan, outcome)
        except BaseException as error:
            state = TrialState.KILLED if stop.requested else TrialState.FAILED
            with suppress(StorageError):  # what is told is why the sweep ends
                write_status(plan.sweep_dir, state, reason=str(error))
            raise
    return outcome


def record_members(plan: Plan) -> None:
    """Leave configuration and trials in the sweep's folder: the report covers these trials only.

    Runs of an earlier code version or configuration may lie beside them. A single trial joins the
    sweep that is there.

    Args:
        plan: A plan that passed preflight.
    """
    trials = {spec.run_id: _member(spec) for spec in plan.specs}
    members = plan.sweep_dir / SWEEP_FILE
    if not plan.config.orchestration.grid and members.is_file():
        known = json.loads(members.read_text(encoding="utf-8"))
        entries = known.get("trials", {})
        trials = {run_id: entries.get(run_id, {}) for run_id in known["run_ids"]} | trials
    else:
        write_json(plan.sweep_dir / CONFIG_FILE, config_to_json(plan.config))
    now_ms = int(time.time() * 1000)
    write_json(members, {"run_ids": [*trials], "trials": trials, "time_ms": now_ms})


def _member(spec: TrialSpec) -> dict[str, Any]:
    """What `aptune status` needs to know of a trial that has not started."""
    arm = spec.config.get("arm", "")
    return {"label": spec.label, "arm": arm, "total_steps": spec.total_steps}


def show_report(sweep_dir: Path, console: Console) -> None:
    """Build the report of a sweep's folder, print its table and where it is.

    Args:
        sweep_dir: ``<results_dir>/<name>``.
        console: Where to print.
    """
    from orchestrator.reports.collect import collect
    from orchestrator.reports.console import console_table
    from orchestrator.reports.render import build_report

    with span("report"), tell_refusals(sweep_dir):
        paths = build_report(sweep_dir, max_processes=min(num_local_cpus(), MAX_DRAWING))
    console.print(console_table(collect(sweep_dir)))
    say(console, f"report: {paths.markdown}\n        {paths.html}")


def say_goodput(sweep_dir: Path, console: Console) -> None:
    """Print which part of the sweep's time went into training, and where the rest is lost.

    Args:
        sweep_dir: ``<results_dir>/<name>``.
        console: Where to print.
    """
    goodput = goodput_of(sweep_dir, [run_id for run_id, _ in members_of(sweep_dir)])
    for line in goodput_lines(goodput) if goodput else []:
        say(console, line)


def log_to(console: Console) -> None:
    """Show our own log on the console; libraries only from WARNING up."""
    handler = RichHandler(console=console, show_path=False, show_time=False, markup=False)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], format="%(message)s", force=True)
    for name in ("orchestrator", "jobs", "apt_core"):
        logging.getLogger(name).setLevel(logging.INFO)


def warn_of_slowness(plan: Plan) -> None:
    """Say before it starts what makes a training many times slower than it need be."""
    if plan.emulates_bf16:
        logger.warning(
            "hardware.precision: this processor has no bf16 units, so PyTorch computes bf16 many "
            "times slower than fp32; -s hardware.precision=fp32 (another precision, another run)"
        )


def _end_sweep(plan: Plan, outcome: SweepOutcome) -> None:
    if outcome.stopped_by:
        write_status(plan.sweep_dir, TrialState.KILLED, reason=f"stopped by {outcome.stopped_by}")
    elif outcome.failures:
        reason = f"{len(outcome.failures)} of {len(plan.trials)} trials failed"
        write_status(plan.sweep_dir, TrialState.FAILED, reason=reason)
    else:
        write_status(plan.sweep_dir, TrialState.FINISHED)


def _say_where(plan: Plan, console: Console) -> None:
    from orchestrator.tracking.uri import redact, resolve_tracking_uri

    if not plan.config.tracking.enabled:
        return
    uri = resolve_tracking_uri(plan.config.tracking.uri)
    if uri is None:
        say(console, f"MLflow: aptune ui {plan.config.orchestration.results_path}")
    else:
        say(console, f"MLflow: {redact(uri)}")


def _verdict(outcome: SweepOutcome, num_trials: int) -> int:
    if outcome.is_complete:
        return EXIT_OK
    lines = [
        f"{failure.label} ({failure.run_id}): {failure.reason}; log: {failure.log}"
        for failure in outcome.failures
    ]
    if outcome.stopped_by:
        lines.insert(0, f"stopped by {outcome.stopped_by}; the same command continues")
    else:
        lines.insert(
            0, f"{len(lines)} of {num_trials} trials failed; the same command tries them again:"
        )
    sys.stdout.flush()
    say_error("\n".join(lines))
    return EXIT_FAILED

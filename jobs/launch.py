"""Running a plan: the sweep with progress and tracking, then the report."""

import json
import logging
import sys
from pathlib import Path

from rich.console import Console
from rich.logging import RichHandler

from apt_core.config import config_to_json
from jobs.common import EXIT_FAILED, EXIT_OK, make_console, say, say_error
from jobs.planning import Plan
from jobs.tracked import tracking
from orchestrator.execution.status import (
    CONFIG_FILE,
    SWEEP_FILE,
    TrialState,
    write_json_atomically,
    write_status,
)
from orchestrator.execution.stopping import StopSignal
from orchestrator.execution.sweep import SweepOutcome, run_sweep
from orchestrator.progress import SweepProgress


def launch(plan: Plan) -> int:
    """Run all trials of a plan, write the report and say where everything is.

    Args:
        plan: A plan that passed preflight.

    Returns:
        The exit code: 1 if a trial failed or the sweep was stopped.
    """
    console = make_console()
    log_to(console)
    record_members(plan)
    with StopSignal() as stop, tracking(plan) as tracker:
        write_status(plan.sweep_dir, TrialState.RUNNING)
        try:
            with SweepProgress(plan.specs, console) as progress:

                def on_poll() -> None:
                    if tracker is not None:
                        tracker.check()
                    progress.refresh()

                outcome = run_sweep(plan.specs, plan.settings, stop=stop, on_poll=on_poll)
            show_report(plan.sweep_dir, console)
            _end_sweep(plan, outcome)
        except BaseException as error:
            state = TrialState.KILLED if stop.requested else TrialState.FAILED
            write_status(plan.sweep_dir, state, reason=str(error))
            raise
    _say_where(plan, console)
    return _verdict(outcome, len(plan.trials))


def record_members(plan: Plan) -> None:
    """Leave configuration and trials in the sweep's folder: the report covers these trials only.

    Runs of an earlier code version or configuration may lie beside them. A single trial joins the
    sweep that is there.

    Args:
        plan: A plan that passed preflight.
    """
    run_ids = [spec.run_id for spec in plan.specs]
    members = plan.sweep_dir / SWEEP_FILE
    if not plan.config.orchestration.grid and members.is_file():
        known = json.loads(members.read_text(encoding="utf-8"))["run_ids"]
        run_ids = [*known, *(run_id for run_id in run_ids if run_id not in known)]
    else:
        write_json_atomically(plan.sweep_dir / CONFIG_FILE, config_to_json(plan.config))
    write_json_atomically(members, {"run_ids": run_ids})


def show_report(sweep_dir: Path, console: Console) -> None:
    """Build the report of a sweep's folder, print its table and where it is.

    Args:
        sweep_dir: ``<results_dir>/<name>``.
        console: Where to print.
    """
    from orchestrator.reports.collect import collect
    from orchestrator.reports.console import console_table
    from orchestrator.reports.render import build_report

    paths = build_report(sweep_dir)
    console.print(console_table(collect(sweep_dir)))
    say(console, f"report: {paths.markdown}\n        {paths.html}")


def log_to(console: Console) -> None:
    """Show our own log on the console; libraries only from WARNING up."""
    handler = RichHandler(console=console, show_path=False, show_time=False, markup=False)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], format="%(message)s", force=True)
    for name in ("orchestrator", "jobs", "apt_core"):
        logging.getLogger(name).setLevel(logging.INFO)


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

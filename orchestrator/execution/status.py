"""What a trial's folder says about it: `status.json` what happens, `result.json` the last word."""

import json
import time
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from apt_core.files import write_json
from apt_core.report import RunReport

RESULT_FILE = "result.json"
STATUS_FILE = "status.json"
CONFIG_FILE = "config.json"
SWEEP_FILE = "sweep.json"
"""Which trials a sweep consists of: ``{"run_ids": [...], "trials": {run id: label and steps},
"time_ms": when it was launched}``."""
REBUILT_FILE = "rebuilt.json"
"""Marks a sweep's folder that came from a tracking server: ``{"notes": [what is missing]}``."""
METRICS_FILE = "metrics.jsonl"
WORKER_LOG = "worker.log"


class TrialState(StrEnum):
    """Where a trial stands."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"


@dataclass(frozen=True)
class TrialStatus:
    """The content of one `status.json`."""

    state: TrialState
    reason: str = ""
    """Why it failed or was killed, in one paragraph; empty otherwise."""
    launch_id: str = ""
    """Which launch of the sweep wrote this; tells a fresh verdict from an earlier one."""
    rejected: bool = False
    """The input was wrong (a `UserError`), or the training diverged (a `TrainingError`): another
    attempt would end the same way."""
    time_ms: int = 0
    node: str = ""
    """Host name of worker 0, where that wrote this."""


def write_status(
    run_dir: Path,
    state: TrialState,
    *,
    reason: str = "",
    launch_id: str = "",
    rejected: bool = False,
    node: str = "",
) -> None:
    """Record where the trial in `run_dir` stands."""
    status = TrialStatus(state, reason, launch_id, rejected, int(time.time() * 1000), node)
    write_json(run_dir / STATUS_FILE, asdict(status))


def read_status(run_dir: Path) -> TrialStatus:
    """What `status.json` says; a missing or unreadable file means: not started."""
    try:
        data = json.loads((run_dir / STATUS_FILE).read_text(encoding="utf-8"))
        return TrialStatus(**{**data, "state": TrialState(data["state"])})
    except (OSError, ValueError, TypeError, KeyError):
        return TrialStatus(TrialState.PENDING)


def finished_report(run_dir: Path, run_id: str) -> RunReport | None:
    """The report of a finished trial; None: no result, a torn one, or one of another run."""
    try:
        report = RunReport.load(run_dir / RESULT_FILE)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return report if report.run_id == run_id else None


def trial_state(run_dir: Path, run_id: str) -> TrialState:
    """FINISHED exactly if there is a valid result; otherwise what the status file says."""
    if finished_report(run_dir, run_id) is not None:
        return TrialState.FINISHED
    state = read_status(run_dir).state
    return TrialState.PENDING if state is TrialState.FINISHED else state

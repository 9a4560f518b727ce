"""A sweep's folder, rebuilt from what the tracker keeps: enough for `aptune report` and `explain`.

The trials' files come as they were uploaded. What a trial has logged is uploaded when it ends;
before, and for sweeps of versions that did not, its log is put together from single metrics: the
same numbers, but infinities, which MLflow cannot hold, are NaN.
"""

import json
import re
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from apt_core.errors import DataError
from apt_core.files import write_json
from orchestrator.execution.status import (
    CONFIG_FILE,
    METRICS_FILE,
    REBUILT_FILE,
    RESULT_FILE,
    STATUS_FILE,
    SWEEP_FILE,
    TrialState,
)
from orchestrator.tracking.source import MetricSource, TrackedRun

NUM_THREADS = 8
MAX_NAMED = 10
_TRIAL_FILES = (CONFIG_FILE, RESULT_FILE, METRICS_FILE)
_OURS = {*_TRIAL_FILES, STATUS_FILE}
_FOLDER_NAME = re.compile(r"\w[\w.\- ]*")


def rebuild_sweep(
    source: MetricSource, name: str, into: Path, *, experiment: str | None = None
) -> Path:
    """Write the records of a sweep's trials, finished or not, as the sweep itself would.

    Args:
        source: The tracker.
        name: The sweep's name, the `name` of its configuration.
        into: Gets a folder of that name. One that was rebuilt earlier is replaced.
        experiment: Where to look; None: in all experiments.

    Returns:
        The folder: ``trials/<run id>/`` with configuration, result, log and state; what is not on
        the tracker stands in ``rebuilt.json``.

    Raises:
        DataError: If there is no such sweep, there are several, or the folder is somebody's sweep.
        TrackingError: If the tracker cannot be read.
    """
    launches = _launches(source, name, experiment)
    folder = into / name
    _clear(folder)
    members = _fetch_members(source, launches, folder)
    trials, notes = _trials_of(source, launches, members)
    with ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="rebuild") as pool:
        notes += filter(None, pool.map(partial(_rebuild_trial, source, folder), trials))
    write_json(folder / REBUILT_FILE, {"notes": notes})
    return folder


def _launches(source: MetricSource, name: str, experiment: str | None) -> list[TrackedRun]:
    """The sweep's runs, the oldest first: one for every set of trials that bore its name."""
    sweeps = source.sweeps(experiment)
    found = sorted((run for run in sweeps if run.name == name), key=lambda run: run.start_ms)
    if not found or not _FOLDER_NAME.fullmatch(name):
        there = sorted({run.name for run in sweeps})
        where = "" if experiment is None else f" in experiment {experiment!r}"
        raise DataError(
            f"there is no sweep {name!r}{where} on the tracking server; there are: "
            f"{_listed(there) or 'none'}"
        )
    experiments = sorted({run.experiment for run in found})
    if len(experiments) > 1:
        raise DataError(
            f"sweep {name!r} is in several experiments: {_listed(experiments)}; "
            "choose one with --experiment"
        )
    return found


def _clear(folder: Path) -> None:
    """Remove what an earlier call wrote; refuse a folder in which somebody trains."""
    files = list(folder.glob("trials/*/*"))
    is_ours = (folder / REBUILT_FILE).is_file() and {file.name for file in files} <= _OURS
    if folder.exists() and any(folder.iterdir()) and not is_ours:
        raise DataError(
            f"{folder}: holds something else than a sweep that was rebuilt; choose another "
            "place with --into"
        )
    for file in files:
        file.unlink()
    for trial in folder.glob("trials/*"):
        trial.rmdir()
    (folder / SWEEP_FILE).unlink(missing_ok=True)
    (folder / "trials").mkdir(parents=True, exist_ok=True)
    # First of all: a call that is interrupted can be repeated.
    write_json(folder / REBUILT_FILE, {"notes": ["rebuilding was interrupted."]})


def _fetch_members(
    source: MetricSource, launches: Sequence[TrackedRun], folder: Path
) -> frozenset[str] | None:
    """Leave the last launch's list of trials in the folder; None: none was uploaded."""
    newest: dict[str, Any] | None = None
    with tempfile.TemporaryDirectory() as place:
        for launch in launches:
            if source.download(launch, (SWEEP_FILE,), Path(place)):
                members = json.loads((Path(place) / SWEEP_FILE).read_bytes())
                if newest is None or members.get("time_ms", 0) >= newest.get("time_ms", 0):
                    newest = members
    if newest is None:
        return None
    write_json(folder / SWEEP_FILE, newest)
    return frozenset(newest["run_ids"])


def _trials_of(
    source: MetricSource, launches: Iterable[TrackedRun], members: frozenset[str] | None
) -> tuple[list[TrackedRun], list[str]]:
    """The runs to show, each trial once, and what is to be said of the others."""
    newest: dict[str, TrackedRun] = {}
    for run in (run for launch in launches for run in source.trials(launch)):
        if _FOLDER_NAME.fullmatch(run.run_id):
            known = newest.get(run.run_id)
            newest[run.run_id] = run if known is None else max(known, run, key=_last_word)
    if members is None:
        note = "which trials the last launch consisted of is not on the tracking server; all shown."
        return list(newest.values()), [note]
    absent = sorted(members - newest.keys())
    notes = []
    if absent:
        notes.append(
            f"{len(absent)} of {len(members)} trials are not on the tracking server, as they have "
            f"not started or were not delivered: {_listed(absent)}."
        )
    return [run for run_id, run in newest.items() if run_id in members], notes


def _last_word(run: TrackedRun) -> tuple[bool, int]:
    """A trial of two launches is shown in both; one that has a result is never run again."""
    return run.state == TrialState.FINISHED, max(run.start_ms, run.end_ms)


def _rebuild_trial(source: MetricSource, sweep_dir: Path, trial: TrackedRun) -> str:
    """Write one trial's files; what is missing is returned, empty if nothing is."""
    folder = sweep_dir / "trials" / trial.run_id
    folder.mkdir()
    has_ended = trial.state != TrialState.RUNNING
    # A run that was opened again may still have the log and the result of its earlier end.
    names = _TRIAL_FILES if has_ended else (CONFIG_FILE,)
    found = source.download(trial, names, folder)
    if METRICS_FILE not in found:
        lines = [json.dumps(line.to_json()) + "\n" for line in source.history(trial)]
        (folder / METRICS_FILE).write_text("".join(lines), encoding="utf-8")
    reason = trial.reason if trial.state in {TrialState.FAILED, TrialState.KILLED} else ""
    status = {"state": trial.state, "reason": reason, "time_ms": trial.end_ms}
    write_json(folder / STATUS_FILE, status)
    wanted = {CONFIG_FILE, RESULT_FILE} if trial.state == TrialState.FINISHED else {CONFIG_FILE}
    missing = sorted(wanted - found)
    return f"trials/{trial.run_id}: not on the tracking server: {_listed(missing)}." * bool(missing)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more

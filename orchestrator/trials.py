"""Find one finished trial by its folder, or by its id under a results folder."""

from collections.abc import Iterable
from pathlib import Path

from apt_core.errors import ConfigError
from orchestrator.execution.status import RESULT_FILE, read_status

SHOWN = 8


def find_trial(run: str, results_dir: Path) -> Path:
    """The folder of a finished trial.

    Args:
        run: a trial's folder, a folder inside it, a sweep's folder with one finished trial, or the
            beginning of a run id.
        results_dir: where sweeps are, for ids.

    Returns:
        The folder with ``result.json``.

    Raises:
        ConfigError: there is none, it is not finished, or there are several.
    """
    path = Path(run).expanduser()
    if path.is_dir():
        return _trial_at(path)
    found = [folder for folder in results_dir.glob("*/trials/*") if folder.name.startswith(run)]
    # One id in two sweeps is one run: equal ids mean equal results.
    one_each = {folder.name: folder for folder in sorted(found, key=_is_finished)}
    if not run or not one_each:
        raise ConfigError(
            f"RUN: {run!r} is no folder, and no run under {results_dir} has an id that begins so; "
            "give a trial's folder, or name the results folder with --results-dir"
        )
    return _only(one_each.values(), run)


def _trial_at(path: Path) -> Path:
    for folder in (path, path.parent):
        if _is_finished(folder):
            return folder
    trials = [folder for folder in path.glob("trials/*") if _is_finished(folder)]
    if not trials:
        raise ConfigError(
            f"RUN: {path} holds no finished run: no {RESULT_FILE} in it; give the folder of a "
            f"trial that is finished (this one is {read_status(path).state})"
        )
    return _only(trials, str(path))


def _only(folders: Iterable[Path], run: str) -> Path:
    several = sorted(folders, key=lambda folder: folder.name)
    if len(several) > 1:
        names = ", ".join(folder.name for folder in several[:SHOWN])
        more = f" and {len(several) - SHOWN} more" if len(several) > SHOWN else ""
        raise ConfigError(
            f"RUN: {run!r} means {len(several)} runs: {names}{more}; give one of them"
        )
    if not _is_finished(several[0]):
        state = read_status(several[0]).state
        raise ConfigError(f"RUN: {several[0]} is not finished but {state}; run it to its end first")
    return several[0]


def _is_finished(folder: Path) -> bool:
    return (folder / RESULT_FILE).is_file()

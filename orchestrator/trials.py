"""Which trials a user means by a path or by the beginning of a run's id."""

from collections.abc import Sequence
from pathlib import Path

from apt_core.errors import DataError
from orchestrator.execution.status import CONFIG_FILE, RESULT_FILE, STATUS_FILE, read_status

MAX_NAMED = 5


def find_runs(run: str, results_dir: Path) -> list[Path]:
    """The folders of the trials that one argument names.

    Args:
        run: folder of a trial or of a sweep, a file or folder inside a trial, or the beginning of
            a run id.
        results_dir: where ids are looked up, in all its sweeps.

    Returns:
        One folder, or all of a sweep.

    Raises:
        DataError: the name means nothing, or an id's beginning means several runs.
    """
    path = Path(run).expanduser()
    if (path / "trials").is_dir():
        return sorted(folder.resolve() for folder in (path / "trials").iterdir() if folder.is_dir())
    for folder in (path, path.parent):
        if path.exists() and _is_trial(folder):
            return [folder.resolve()]
    found = [folder for folder in results_dir.glob("*/trials/*") if folder.name.startswith(run)]
    # One id in two sweeps is one run: equal ids mean equal results, and a finished one is shown.
    one_each = {folder.name: folder for folder in sorted(found, key=is_finished)}
    if run in one_each:
        return [one_each[run].resolve()]
    if not run or not one_each:
        raise DataError(
            f"RUN: {run!r} is no folder of a trial or a sweep, and no run below {results_dir} "
            "has an id that begins so; give a folder, or --results-dir"
        )
    return [_only(list(one_each.values()), f"{run!r} is the beginning of").resolve()]


def find_run(run: str, results_dir: Path) -> Path:
    """The folder of the one trial that was named; arguments and errors as for `find_runs`."""
    return _only(find_runs(run, results_dir), f"{run} is a sweep of")


def find_finished_run(run: str, results_dir: Path) -> Path:
    """The folder of the one finished trial that was named; a sweep may hold unfinished ones too.

    Args:
        run: as for `find_runs`.
        results_dir: as for `find_runs`.

    Returns:
        The folder with ``result.json``.

    Raises:
        DataError: there is none, it is not finished, or there are several.
    """
    folders = find_runs(run, results_dir)
    finished = [folder for folder in folders if is_finished(folder)]
    if finished:
        return _only(finished, f"{run} holds")
    states = ", ".join(f"{folder.name} is {read_status(folder).state}" for folder in folders)
    raise DataError(
        f"RUN: {run} is not finished: {states or 'it holds no run'}; the command that started it "
        "continues it"
    )


def is_finished(folder: Path) -> bool:
    """Whether this trial's last word is there."""
    return (folder / RESULT_FILE).is_file()


def _is_trial(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (RESULT_FILE, CONFIG_FILE, STATUS_FILE))


def _only(folders: Sequence[Path], meaning: str) -> Path:
    if len(folders) == 1:
        return folders[0]
    names = ", ".join(str(folder) for folder in folders[:MAX_NAMED])
    more = f" and {len(folders) - MAX_NAMED} more" if len(folders) > MAX_NAMED else ""
    raise DataError(
        f"RUN: {meaning} {len(folders)} runs; give one of them: {names or 'there is none'}{more}"
    )

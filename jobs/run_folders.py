"""Which folders of trials a user means by a path or by the beginning of a run's id."""

from pathlib import Path
from typing import Annotated

import typer

from apt_core.errors import DataError

MAX_NAMED = 5
RESULTS_DIR = Path("runs")
_OF_A_TRIAL = ("result.json", "config.json", "status.json")

ResultsDirOption = Annotated[
    Path, typer.Option("--results-dir", help="Where run ids are looked up.", metavar="FOLDER")
]


def find_run(name: str, results_dir: Path) -> Path:
    """The folder of the one run that was named.

    Args:
        name: Folder of a trial, or the beginning of a run id.
        results_dir: Where ids are looked up.

    Returns:
        The folder.

    Raises:
        DataError: If the name means no run or several.
    """
    folders = find_runs(name, results_dir)
    if len(folders) != 1:
        raise DataError(
            f"RUN: {name} is a sweep of {len(folders)} runs; give one of them: "
            f"{_named(folders) or 'there is none'}"
        )
    return folders[0]


def find_runs(name: str, results_dir: Path) -> list[Path]:
    """The folders of the runs that one argument names.

    Args:
        name: Folder of a trial or of a sweep, a file of a trial, or the beginning of a run id.
        results_dir: Where ids are looked up.

    Returns:
        One folder, or all of a sweep.

    Raises:
        DataError: If the name means nothing, or an id's beginning means several runs.
    """
    path = Path(name).expanduser()
    if path.is_file():
        path = path.parent
    if (path / "trials").is_dir():
        return sorted(folder.resolve() for folder in (path / "trials").iterdir() if folder.is_dir())
    if any((path / file).is_file() for file in _OF_A_TRIAL):
        return [path.resolve()]
    matches = sorted(results_dir.glob("*/trials/*/"))
    exact = [folder for folder in matches if folder.name == name]
    matches = exact or [folder for folder in matches if folder.name.startswith(name)]
    if len(matches) == 1:
        return [matches[0].resolve()]
    if not matches:
        raise DataError(
            f"RUN: {name!r} is no folder of a trial or a sweep, and no run below {results_dir} "
            "has an id that begins so; give a folder, or --results-dir"
        )
    raise DataError(f"RUN: {name!r} is the beginning of {len(matches)} run ids: {_named(matches)}")


def _named(folders: list[Path]) -> str:
    more = f" and {len(folders) - MAX_NAMED} more" if len(folders) > MAX_NAMED else ""
    return ", ".join(str(folder) for folder in folders[:MAX_NAMED]) + more

"""`aptune compare`: a few runs side by side, in the terminal."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from apt_core.errors import DataError
from jobs.common import EXIT_OK, make_console, run_app

EPILOG = """
Examples:

aptune compare runs/demo/trials/RUN_ID runs/demo/trials/OTHER_ID

aptune compare ft-toy lora-toy --results-dir runs

aptune compare runs/demo

Runs that differ in their seed alone share a column.

Differences are to the first column, over the seeds that both ran.

They are within noise unless bootstrap and t interval both leave out zero.
"""
_MAX_NAMED = 5
_OF_A_TRIAL = ("result.json", "config.json", "status.json")

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(epilog=EPILOG)
def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="Two or more: folder of a trial or of a sweep, or the beginning of a run's id.",
            metavar="RUN...",
        ),
    ],
    results_dir: Annotated[
        Path, typer.Option("--results-dir", help="Where run ids are looked up.", metavar="FOLDER")
    ] = Path("runs"),
) -> int:
    """Show the settings that tell runs apart, what they measured, and whether that is noise."""
    folders = find_trials(runs, results_dir)

    from orchestrator.reports.collect import collect_trials
    from orchestrator.reports.comparison import comparison_grid
    from orchestrator.reports.console import grid_table

    records = collect_trials(folders)
    if not any((*records.reports, *(t for t in records.unfinished if t.cell))):
        raise DataError("RUN: none of these folders has a readable result.json or config.json")
    console = make_console()
    console.print(grid_table(comparison_grid(records)))
    for warning in records.warnings:
        console.print(warning, markup=False, highlight=False, soft_wrap=True)
    return EXIT_OK


def find_trials(runs: Sequence[str], results_dir: Path) -> list[Path]:
    """The folders of the runs that were named, each once, in order.

    Args:
        runs: Folders of trials or sweeps, or beginnings of run ids.
        results_dir: Where ids are looked up.

    Returns:
        Two or more folders.

    Raises:
        DataError: If a name means no run or several, or if there is only one run.
    """
    found = dict.fromkeys(folder for name in runs for folder in _find(name, results_dir))
    if len(found) < 2:  # noqa: PLR2004 - one run cannot be compared
        raise DataError(f"RUN: give two or more different runs; {', '.join(runs)} means one")
    return list(found)


def _find(name: str, results_dir: Path) -> list[Path]:
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
    named = ", ".join(str(folder) for folder in matches[:_MAX_NAMED])
    more = f" and {len(matches) - _MAX_NAMED} more" if len(matches) > _MAX_NAMED else ""
    raise DataError(f"RUN: {name!r} is the beginning of {len(matches)} run ids: {named}{more}")


if __name__ == "__main__":
    run_app(app)

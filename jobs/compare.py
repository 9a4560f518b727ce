"""`aptune compare`: a few runs side by side, in the terminal."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from apt_core.errors import DataError
from jobs.common import EXIT_OK, RESULTS_DIR, ResultsDirOption, make_console, run_app
from orchestrator.trials import find_runs

EPILOG = """
Examples:

aptune compare runs/demo/trials/RUN_ID runs/demo/trials/OTHER_ID

aptune compare ft-toy lora-toy --results-dir runs

aptune compare runs/demo

Runs that differ in their seed alone share a column.

Differences are to the first column, over the seeds that both ran.

They are within noise unless bootstrap and t interval both leave out zero.
"""

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
    results_dir: ResultsDirOption = RESULTS_DIR,
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
    found = dict.fromkeys(folder for name in runs for folder in find_runs(name, results_dir))
    if len(found) < 2:  # noqa: PLR2004 - one run cannot be compared
        raise DataError(f"RUN: give two or more different runs; {', '.join(runs)} means one")
    return list(found)


if __name__ == "__main__":
    run_app(app)

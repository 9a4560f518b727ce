"""`aptune resume`: go on with a sweep whose folder is known, on its cluster or here."""

import json
from pathlib import Path
from typing import Annotated

import typer

from apt_core.config import ExperimentConfig, config_from_json, config_to_json
from apt_core.errors import DataError, UserError
from jobs.cluster_options import (
    AddressOption,
    GridArgument,
    WaitOption,
    WithCodeOption,
    connect,
    find,
    folder_of,
    sweep_folder,
)
from jobs.common import EXIT_OK, base_arguments, make_console, run_app, say
from orchestrator.execution.status import CONFIG_FILE

EPILOG = """
Examples:

aptune resume my-grid

aptune resume runs/my-grid --here

The configuration is the one that lies in the sweep's folder. Finished trials are kept, others go
on from their last checkpoint; a grid that is running is joined.
"""

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(epilog=EPILOG)
def resume(
    grid: GridArgument = None,
    address: AddressOption = None,
    here: Annotated[
        bool, typer.Option("--here", help="On this machine instead, as aptune sweep does.")
    ] = False,
    with_code: WithCodeOption = False,
    wait: WaitOption = False,
) -> int:
    """Continue a sweep that was stopped, failed or lost its cluster."""
    if here:
        return _resume_here(grid)
    folder = sweep_folder(grid)
    server = connect(address)
    if folder is None:
        job = find(server, grid)
        folder = folder_of(job)
        if folder is None:
            raise UserError(
                f"{job.folder or job.submission_id}: its results folder cannot be seen from here; "
                "submit its configuration again, which continues it: aptune submit -c ..."
            )
    config = recorded_config(folder)

    from jobs.submission import how_to_follow, submit_grid, wait_for

    console = make_console()
    job = submit_grid(server, config, lambda text: say(console, text), with_code=with_code)
    if wait:
        return wait_for(server, job)
    say(console, how_to_follow(job))
    return EXIT_OK


def recorded_config(folder: Path) -> ExperimentConfig:
    """The configuration that a sweep's last launch left in its folder.

    Args:
        folder: ``<results_dir>/<name>``.

    Returns:
        The configuration.

    Raises:
        DataError: If there is none.
    """
    path = folder / CONFIG_FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}); start the sweep again from its own configuration"
        ) from error
    return config_from_json(data)


def _resume_here(grid: str | None) -> int:
    folder = sweep_folder(grid)
    if folder is None:
        raise UserError(
            f"--here: {grid or 'no GRID'}: give the folder of a sweep that was started, "
            "<results_dir>/<name>"
        )
    data = config_to_json(recorded_config(folder))
    results_dir = str(folder.resolve().parent)  # as seen from here, whatever the cluster calls it
    data["orchestration"]["results_dir"] = results_dir
    arguments = base_arguments(
        [str(folder / CONFIG_FILE)], [f"orchestration.results_dir={results_dir}"]
    )

    from jobs.launch import launch
    from jobs.planning import make_plan

    return launch(make_plan(config_from_json(data), arguments))


if __name__ == "__main__":
    run_app(app)

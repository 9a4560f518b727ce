"""`aptune report`: build a sweep's report again, from its folder or from a tracking server."""

from pathlib import Path
from typing import Annotated

import typer

from apt_core.errors import ConfigError
from jobs.common import EXIT_OK, make_console, run_app, say

EPILOG = """
Examples:

aptune report runs/demo

aptune report demo --tracking-uri http://127.0.0.1:5000

The second needs no folder: what the tracking server keeps is written to rebuilt/demo.
"""
REBUILT_DIR = Path("rebuilt")

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(epilog=EPILOG)
def report(
    sweep: Annotated[
        str,
        typer.Argument(
            help="Folder of one sweep, <results_dir>/<name>; with --tracking-uri its name.",
            metavar="SWEEP",
        ),
    ],
    tracking_uri: Annotated[
        str | None,
        typer.Option(
            "--tracking-uri", help="Read the records from this MLflow server.", metavar="URI"
        ),
    ] = None,
    experiment: Annotated[
        str | None,
        typer.Option(
            "--experiment", help="Only this MLflow experiment; default: all.", metavar="NAME"
        ),
    ] = None,
    into: Annotated[
        Path,
        typer.Option(
            "--into", help="Where the folder of that name goes, with --tracking-uri.", metavar="DIR"
        ),
    ] = REBUILT_DIR,
) -> int:
    """Build report.md and report.html again, also while the sweep is still running."""
    from jobs.launch import show_report

    console = make_console()
    folder = Path(sweep)
    if tracking_uri is not None:
        from orchestrator.tracking.mlflow_source import MlflowSource
        from orchestrator.tracking.rebuild import rebuild_sweep

        source = MlflowSource(tracking_uri)
        folder = rebuild_sweep(source, sweep, into, experiment=experiment)
        say(console, f"rebuilt: {folder}")
    elif experiment is not None or into != REBUILT_DIR:
        raise ConfigError(
            "--experiment and --into: go with --tracking-uri; a report of a folder stays inside it"
        )
    show_report(folder, console)
    return EXIT_OK


if __name__ == "__main__":
    run_app(app)

"""`aptune report`: build a sweep's report again from its folder."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.common import EXIT_OK, make_console, run_app

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(epilog="Example:\n\naptune report runs/demo")
def report(
    folder: Annotated[
        Path, typer.Argument(help="Folder of one sweep: <results_dir>/<name>.", metavar="FOLDER")
    ],
) -> int:
    """Build report.md and report.html again, also while the sweep is still running."""
    from jobs.launch import show_report

    show_report(folder, make_console())
    return EXIT_OK


if __name__ == "__main__":
    run_app(app)

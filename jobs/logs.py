"""`aptune logs`: what a job on a cluster has printed."""

from typing import Annotated

import typer

from jobs.cluster_options import AddressOption, GridArgument, connect, find
from jobs.common import EXIT_OK, make_console, run_app, say

EPILOG = """
Examples:

aptune logs my-grid

aptune logs -f runs/my-grid

This is the log of the sweep's driver. Each training writes its own:
<results_dir>/<name>/trials/<run id>/worker.log
"""

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(epilog=EPILOG)
def logs(
    grid: GridArgument = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job ends; Ctrl-C leaves it.")
    ] = False,
    address: AddressOption = None,
) -> int:
    """Print the log of a grid's newest job."""
    server = connect(address)
    job = find(server, grid)

    from jobs.submission import follow_log

    if follow:
        follow_log(server, job)
    else:
        say(make_console(), server.logs(job.submission_id).rstrip("\n"))
    return EXIT_OK


if __name__ == "__main__":
    run_app(app)

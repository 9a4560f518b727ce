"""`aptune stop`: end a grid's job; every training saves its step first."""

from typing import Annotated

import typer

from jobs.cluster_options import AddressOption, GridArgument, connect, find, folder_of
from jobs.common import EXIT_FAILED, EXIT_OK, make_console, run_app, say, say_error

DEFAULT_TIMEOUT_S = 150.0
EPILOG = """
Example:

aptune stop my-grid

Nothing is lost: every training finishes its step, saves it and is marked KILLED. Continue with
aptune resume, or by submitting the grid again.
"""

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(epilog=EPILOG)
def stop(
    grid: GridArgument = None,
    address: AddressOption = None,
    timeout: Annotated[
        float,
        typer.Option("--timeout", help="Seconds to wait for the end.", min=0.0, metavar="SECONDS"),
    ] = DEFAULT_TIMEOUT_S,
) -> int:
    """End a running grid in good order and wait until it has ended."""
    server = connect(address)
    job = find(server, grid)

    from orchestrator.sweep_status import SweepView, counts_line

    console = make_console()
    if job.state.has_ended:
        say(console, f"job {job.submission_id} has ended already: {job.state.lower()}")
        return EXIT_OK
    server.stop(job.submission_id)
    say(console, f"job {job.submission_id}: trainings save their step and end")
    ended = server.wait(job.submission_id, timeout_s=timeout)
    if not ended.state.has_ended:
        say_error(f"job {job.submission_id} has not ended after {timeout:g} s; see aptune logs")
        return EXIT_FAILED
    folder = folder_of(ended)
    trials = "" if folder is None else f"; {counts_line(SweepView(folder).rows())}"
    say(console, f"{ended.state.lower()}{trials}\ncontinue: aptune resume {job.submission_id}")
    return EXIT_OK


if __name__ == "__main__":
    run_app(app)

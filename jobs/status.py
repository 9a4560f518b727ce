"""`aptune status`: how a sweep stands, from its folder, and what its job is doing."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from apt_core.errors import ConfigError, UserError
from jobs.cluster_options import (
    AddressOption,
    GridArgument,
    connect,
    find,
    folder_of,
    sweep_folder,
)
from jobs.common import EXIT_OK, make_console, print_whole, run_app
from orchestrator.execution.job_records import JobRecord, JobState, newest_jobs
from orchestrator.execution.status import TrialState
from orchestrator.goodput import goodput_lines
from orchestrator.sweep_status import SweepView, as_json, counts_line, reasons, status_table

if TYPE_CHECKING:
    from orchestrator.execution.job_server import JobServer

EVERY_S = 2.0
EPILOG = """
Examples:

aptune status runs/my-grid

aptune status my-grid --address http://127.0.0.1:8265 --watch

aptune status runs/my-grid --json

The table is read from the sweep's folder, which must be visible here. The state of its job comes
from the job server, if one answers.
"""

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@dataclass
class Watched:
    """A sweep as far as it can be seen from here."""

    server: "JobServer | None"
    job: JobRecord | None
    view: SweepView | None

    def refresh_job(self) -> None:
        """Ask the server again how the job stands."""
        if self.server is not None and self.job is not None:
            self.job = self.server.job(self.job.submission_id)

    @property
    def has_ended(self) -> bool:
        """Whether nothing will change any more."""
        if self.job is not None:
            return self.job.state.has_ended
        running = (TrialState.PENDING, TrialState.RUNNING)
        return self.view is None or self.view.status.state not in running


@app.command(epilog=EPILOG)
def status(
    grid: GridArgument = None,
    address: AddressOption = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it again and again until the sweep has ended.")
    ] = False,
    as_data: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of a table.")
    ] = False,
) -> int:
    """Show every trial of a sweep: state, step, sparsity, metric, time left, node."""
    if watch and as_data:
        raise ConfigError("--json: is one answer, --watch shows a table; leave one of them out")
    watched, others = look_up(grid, address)
    console = make_console()
    if watched is None:
        if as_data:
            _write_json({"jobs": [job_data(job) for job in others]})
        else:
            console.print(jobs_table(others))
    elif as_data:
        _write_json(sweep_data(watched))
    elif watch:
        _watch(watched, console)
    else:
        _show(watched, console)
    return EXIT_OK


def look_up(grid: str | None, address: str | None) -> tuple[Watched | None, list[JobRecord]]:
    """The sweep that is meant; or, if none is named and there are several, the jobs there are.

    Args:
        grid: Folder, name or submission id.
        address: What ``--address`` said.

    Returns:
        The sweep or None, and the newest job of every grid on the cluster.

    Raises:
        UserError: If nothing like that can be found.
    """
    folder = sweep_folder(grid)
    server = _server(address, is_needed=folder is None)
    view = None if folder is None else SweepView(folder)
    if server is None:
        return Watched(None, None, view), []
    newest = newest_jobs(server.jobs())
    if grid is None and len(newest) > 1:
        return None, newest
    try:
        job = find(server, grid)
    except UserError:
        if view is None:
            raise
        return Watched(server, None, view), newest
    if view is None:
        seen = folder_of(job)
        view = None if seen is None else SweepView(seen)
    return Watched(server, job, view), newest


def _server(address: str | None, *, is_needed: bool) -> "JobServer | None":
    """The job server; where the folder tells enough, it may be missing unless it was asked for."""
    try:
        return connect(address)
    except UserError:
        if is_needed or address is not None:
            raise
        return None


def picture(watched: Watched) -> RenderableType:
    """What a terminal shows of a sweep."""
    parts: list[RenderableType] = []
    if watched.view is not None:
        rows = watched.view.rows()
        said = watched.view.status
        heading = f"{watched.view.name}: {said.state.lower()}, {counts_line(rows)}"
        parts.append(_text(f"{heading}\n{watched.view.folder}"))
    if watched.job is not None:
        parts.append(_text(job_line(watched.job)))
    if watched.view is not None:
        goodput = watched.view.goodput()
        told = [*reasons(rows), *(goodput_lines(goodput) if goodput else [])]
        parts += [status_table(rows), *map(_text, told)]
    elif watched.job is not None:
        where = watched.job.folder or "unknown"
        parts.append(_text(f"its folder ({where}) cannot be seen from here; see aptune logs"))
    return Group(*parts)


def _text(text: str) -> Text:
    return Text(text, no_wrap=True, overflow="ignore")


def job_line(job: JobRecord) -> str:
    """A job in one line, with the first line of what went wrong."""
    line = f"job {job.submission_id}: {job.state.lower()}"
    said = job.message.strip().splitlines()
    return f"{line} ({said[0]})" if said and job.state is JobState.FAILED else line


def jobs_table(jobs: list[JobRecord]) -> Table:
    """The newest job of every grid."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("job", "state", "folder"):
        table.add_column(heading, overflow="fold")
    for job in jobs:
        table.add_row(job.submission_id, job.state.lower(), job.folder)
    return table


def job_data(job: JobRecord) -> dict[str, Any]:
    """A job as plain data."""
    return {
        "submission_id": job.submission_id,
        "name": job.name,
        "attempt": job.attempt,
        "state": job.state,
        "folder": job.folder,
        "message": job.message,
        "start_ms": job.start_ms,
        "end_ms": job.end_ms,
    }


def sweep_data(watched: Watched) -> dict[str, Any]:
    """A sweep as plain data."""
    view, job = watched.view, watched.job
    goodput = view.goodput() if view else None
    return {
        "name": view.name if view else job.name if job else "",
        "folder": str(view.folder) if view else None,
        "state": view.status.state if view else None,
        "reason": view.status.reason if view else "",
        "job": job_data(job) if job else None,
        "goodput": goodput.to_json() if goodput else None,
        "trials": as_json(view.rows()) if view else [],
    }


def _watch(watched: Watched, console: Console, sleep: Callable[[float], None] = time.sleep) -> None:
    """Draw until the end; without a terminal, print what has changed."""
    with Live(console=console, auto_refresh=False) as live:
        while True:
            watched.refresh_job()
            live.update(picture(watched), refresh=True)
            if watched.has_ended:
                return
            sleep(EVERY_S)


def _show(watched: Watched, console: Console) -> None:
    """Fitted to a terminal; whole in a log."""
    if console.is_terminal:
        console.print(picture(watched), highlight=False)
    else:
        print_whole(console, picture(watched))


def _write_json(data: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(data, indent=2) + "\n")


if __name__ == "__main__":
    run_app(app)

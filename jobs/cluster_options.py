"""What the commands for jobs on a cluster share: options, and finding the job that is meant."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apt_core.errors import UserError
from orchestrator.execution.status import SWEEP_FILE

if TYPE_CHECKING:
    from orchestrator.execution.job_records import JobRecord
    from orchestrator.execution.job_server import JobServer

AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address",
        "-a",
        help="Job server of a Ray cluster: the address of its dashboard. Without it "
        "$RAY_API_SERVER_ADDRESS, $RAY_ADDRESS, then http://127.0.0.1:8265.",
        metavar="URL",
    ),
]
WaitOption = Annotated[
    bool,
    typer.Option(
        "--wait",
        "-w",
        help="Show the job's log until it ends; exit code 0 only if every trial finished. "
        "Ctrl-C leaves the job alone.",
    ),
]
WithCodeOption = Annotated[
    bool,
    typer.Option(
        "--with-code",
        help="Send aptune's own sources along, for a cluster that has its libraries but not "
        "aptune, or another version of it.",
    ),
]
GridArgument = Annotated[
    str | None,
    typer.Argument(
        help="A sweep: its folder (<results_dir>/<name>), its name, or the id that submit printed. "
        "Without it: the only one there is.",
        metavar="GRID",
    ),
]


def connect(address: str | None) -> "JobServer":
    """The job server that the options and the environment name.

    Args:
        address: What ``--address`` said.

    Returns:
        The server.

    Raises:
        ConfigError: Within seconds, if nobody answers there.
    """
    from orchestrator.execution.job_address import check_job_server, job_address

    found = job_address(address)
    check_job_server(found)  # before Ray is imported, which takes seconds
    try:
        from orchestrator.execution.job_server import JobServer
    except ImportError as error:
        raise UserError(
            f"Ray's job client is not installed ({error}); pip install -c constraints.txt "
            '".[cluster]"'
        ) from error
    return JobServer(found)


def sweep_folder(grid: str | None) -> Path | None:
    """The folder that GRID names, if a sweep has been started in it."""
    if grid is None:
        return None
    folder = Path(grid).expanduser()
    return folder.absolute() if (folder / SWEEP_FILE).is_file() else None


def find(server: "JobServer", grid: str | None) -> "JobRecord":
    """The newest job of the sweep that GRID names.

    Args:
        server: Where to look.
        grid: Folder, name or submission id.

    Returns:
        The job.

    Raises:
        UserError: If there is none, or several sweeps could be meant.
    """
    from orchestrator.execution.job_records import find_job

    folder = sweep_folder(grid)
    return find_job(server.jobs(), grid if folder is None else str(folder))


def folder_of(job: "JobRecord") -> Path | None:
    """A job's results folder, if it can be seen from here."""
    return sweep_folder(job.place) if job.folder else None

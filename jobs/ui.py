"""`aptune ui`: serve the MLflow data of a results folder until Ctrl-C."""

from pathlib import Path
from typing import Annotated

import typer

from apt_core.errors import DataError
from jobs.common import EXIT_FAILED, EXIT_OK, make_console, run_app
from orchestrator.binding import LOOPBACK
from orchestrator.tracking.server_process import AUTH_VARIABLES, start_server, stop_server

DEFAULT_PORT = 5000
DATABASE = "mlflow.db"

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(epilog="Example:\n\naptune ui runs --port 5001")
def ui(
    results_dir: Annotated[
        Path, typer.Argument(help="orchestration.results_dir.", metavar="RESULTS_DIR")
    ] = Path("runs"),
    port: Annotated[int, typer.Option("--port", "-p", help="Port on this machine.")] = DEFAULT_PORT,
    host: Annotated[
        str,
        typer.Option(
            "--host",
            help="Address to listen at. Any but this machine's own wants "
            f"{' and '.join(AUTH_VARIABLES)} in the environment, and turns MLflow's passwords on.",
        ),
    ] = LOOPBACK,
) -> int:
    """Show the runs in MLflow, on this machine unless told otherwise, until Ctrl-C."""
    if not (results_dir / DATABASE).exists():
        raise DataError(
            f"{results_dir}: no {DATABASE} inside; give the folder that orchestration.results_dir "
            "names, after a sweep with a local tracking server"
        )
    process = start_server(results_dir, port, host)
    make_console().print(f"MLflow: http://{host}:{port}  (Ctrl-C stops it)", highlight=False)
    try:
        return EXIT_OK if process.wait() == 0 else EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_OK
    finally:
        stop_server(process)


if __name__ == "__main__":
    run_app(app)

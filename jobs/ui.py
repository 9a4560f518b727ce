"""`aptune ui`: serve the MLflow data of a results folder until Ctrl-C."""

import subprocess
from pathlib import Path
from typing import Annotated

import typer

from apt_core.errors import DataError
from jobs.common import EXIT_FAILED, EXIT_OK, make_console, run_app
from orchestrator.tracking.server import server_command

DEFAULT_PORT = 5000
DATABASE = "mlflow.db"

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(epilog="Example:\n\naptune ui runs --port 5001")
def ui(
    results_dir: Annotated[
        Path, typer.Argument(help="orchestration.results_dir.", metavar="RESULTS_DIR")
    ] = Path("runs"),
    port: Annotated[int, typer.Option("--port", "-p", help="Port on this machine.")] = DEFAULT_PORT,
) -> int:
    """Show the runs in MLflow, on this machine only, until Ctrl-C."""
    if not (results_dir / DATABASE).exists():
        raise DataError(
            f"{results_dir}: no {DATABASE} inside; give the folder that orchestration.results_dir "
            "names, after a sweep with a local tracking server"
        )
    console = make_console()
    console.print(f"MLflow: http://127.0.0.1:{port}  (Ctrl-C stops it)", highlight=False)
    try:
        code = subprocess.run(server_command(results_dir, port), check=False).returncode
    except KeyboardInterrupt:
        return EXIT_OK
    return EXIT_OK if code == 0 else EXIT_FAILED


if __name__ == "__main__":
    run_app(app)

"""`aptune`: the command line. Every command is also a module: ``python -m jobs.train``."""

import typer

from jobs.common import run_app
from jobs.compare import EPILOG as COMPARE_EPILOG
from jobs.compare import compare
from jobs.doctor import doctor
from jobs.explain import EPILOG as EXPLAIN_EPILOG
from jobs.explain import explain
from jobs.report import report
from jobs.sweep import EPILOG as SWEEP_EPILOG
from jobs.sweep import sweep
from jobs.train import EPILOG as TRAIN_EPILOG
from jobs.train import train
from jobs.ui import ui

EPILOG = """
Start here:

aptune doctor

aptune sweep -c demo --dry-run

aptune sweep -c demo
"""

app = typer.Typer(
    name="aptune",
    add_completion=False,
    rich_markup_mode="rich",
    help="Adaptive Pruning and Tuning of transformers: one training, a grid of them, the report.",
    epilog=EPILOG,
)
app.command(epilog=TRAIN_EPILOG)(train)
app.command(epilog=SWEEP_EPILOG)(sweep)
app.command(epilog="Example:\n\naptune report runs/demo")(report)
app.command(epilog=COMPARE_EPILOG)(compare)
app.command(epilog=EXPLAIN_EPILOG)(explain)
app.command(epilog="Example:\n\naptune doctor")(doctor)
app.command(epilog="Example:\n\naptune ui runs --port 5001")(ui)


def main() -> None:
    """Run the command line."""
    run_app(app)


if __name__ == "__main__":
    main()

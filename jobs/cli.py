"""`aptune`: the command line. Every command is also a module: ``python -m jobs.train``."""

import typer

from jobs.bench import EPILOG as BENCH_EPILOG
from jobs.bench import bench
from jobs.common import run_app
from jobs.compare import EPILOG as COMPARE_EPILOG
from jobs.compare import compare
from jobs.doctor import doctor
from jobs.explain import EPILOG as EXPLAIN_EPILOG
from jobs.explain import explain
from jobs.export import EPILOG as EXPORT_EPILOG
from jobs.export import export
from jobs.logs import EPILOG as LOGS_EPILOG
from jobs.logs import logs
from jobs.plan import EPILOG as PLAN_EPILOG
from jobs.plan import plan
from jobs.report import EPILOG as REPORT_EPILOG
from jobs.report import report
from jobs.resume import EPILOG as RESUME_EPILOG
from jobs.resume import resume
from jobs.status import EPILOG as STATUS_EPILOG
from jobs.status import status
from jobs.stop import EPILOG as STOP_EPILOG
from jobs.stop import stop
from jobs.submit import EPILOG as SUBMIT_EPILOG
from jobs.submit import submit
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
app.command(epilog=SUBMIT_EPILOG)(submit)
app.command(epilog=STATUS_EPILOG)(status)
app.command(epilog=LOGS_EPILOG)(logs)
app.command(epilog=STOP_EPILOG)(stop)
app.command(epilog=RESUME_EPILOG)(resume)
app.command(epilog=BENCH_EPILOG)(bench)
app.command(epilog=REPORT_EPILOG)(report)
app.command(epilog=PLAN_EPILOG)(plan)
app.command(epilog=COMPARE_EPILOG)(compare)
app.command(epilog=EXPORT_EPILOG)(export)
app.command(epilog=EXPLAIN_EPILOG)(explain)
app.command(epilog="Example:\n\naptune doctor")(doctor)
app.command(epilog="Example:\n\naptune ui runs --port 5001")(ui)


def main() -> None:
    """Run the command line."""
    run_app(app)


if __name__ == "__main__":
    main()

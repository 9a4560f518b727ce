"""`aptune explain`: what one run removed, when and why."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from jobs.common import EXIT_OK, RESULTS_DIR, ResultsDirOption, make_console, run_app, say
from orchestrator.trials import find_run

if TYPE_CHECKING:
    from apt_core.report import RunReport
    from orchestrator.reports.explanation import Explanation

EPILOG = """
Examples:

aptune explain runs/demo/trials/RUN_ID

aptune explain RUN_ID --figures explained

A block is a head, a neuron or a hidden dimension. Its density is its salience over what it costs;

the densest blocks stay, and the border lies between the least dense kept and the densest removed.
"""

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(epilog=EPILOG)
def explain(
    run: Annotated[
        str,
        typer.Argument(help="Folder of a trial, or the beginning of a run's id.", metavar="RUN"),
    ],
    results_dir: ResultsDirOption = RESULTS_DIR,
    figures: Annotated[
        Path | None,
        typer.Option(
            help="Draw structure, ranks and salience of the run into this folder.",
            metavar="FOLDER",
        ),
    ] = None,
) -> int:
    """Show what a run removed, when and why: layers, blocks at the border, time, memory."""
    from orchestrator.goodput import trial_record
    from orchestrator.reports.collect import collect_trials, read_log
    from orchestrator.reports.explanation import explain_report, explain_unfinished

    folder = find_run(run, results_dir)
    records = collect_trials([folder])
    log = list(read_log(folder / "metrics.jsonl", []))
    trace = trial_record(folder)
    if records.reports:
        explanation = explain_report(records.reports[0], log, trace)
    else:
        explanation = explain_unfinished(records.unfinished[0], log, trace)
    _show(make_console(), explanation, records.warnings)
    if figures is not None:
        _draw(make_console(), records.reports, figures)
    return EXIT_OK


def _show(console: Console, explanation: "Explanation", warnings: Sequence[str]) -> None:
    from orchestrator.reports.console import grid_table

    console.print(explanation.title, style="bold", markup=False, highlight=False, soft_wrap=True)
    for fact in explanation.facts:
        say(console, fact)
    for grid in explanation.grids:
        console.print(f"\n{grid.title}", style="bold", markup=False, highlight=False)
        console.print(grid_table(grid))
    for remark in (*explanation.remarks, *warnings):
        say(console, remark)


def _draw(console: Console, reports: Sequence["RunReport"], folder: Path) -> None:
    from orchestrator.reports.figures import draw_run

    drawn = [figure.svg for report in reports for figure in draw_run(report, folder)]
    for path in drawn:
        say(console, f"figure: {path}")
    if not drawn:
        say(console, "figures: none; the run has no result, or removed nothing and has no adapters")


if __name__ == "__main__":
    run_app(app)

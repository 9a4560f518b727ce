"""`aptune export`: ship a finished run in a format that other programs load."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apt_core.config.load import config_from_json
from apt_core.errors import ConfigError
from jobs.common import EXIT_OK, RESULTS_DIR, ResultsDirOption, make_console, run_app, say
from orchestrator.execution.status import CONFIG_FILE, RESULT_FILE
from orchestrator.trials import find_finished_run

if TYPE_CHECKING:
    from apt_core.trainer.build_export import ExportRecord

EPILOG = """
Examples:

aptune export runs/demo/trials/0123456789abcdef

aptune export 0123 --to uniform --out my-model

aptune export 0123 --to onnx
"""


class Format(StrEnum):
    """What can be written."""

    HF = "hf"
    UNIFORM = "uniform"
    ONNX = "onnx"


app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(epilog=EPILOG)
def export(
    run: Annotated[
        str,
        typer.Argument(
            help="A finished trial's folder, or the beginning of its run id.", metavar="RUN"
        ),
    ],
    to: Annotated[
        Format,
        typer.Option(
            "--to",
            help="hf: every layer as small as it is, transformers loads it with the code beside "
            "it. uniform: padded to one shape, stock transformers and servers load it. "
            "onnx: encoders, for onnxruntime.",
        ),
    ] = Format.HF,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder to write; default: export-FORMAT in the trial's folder."
        ),
    ] = None,
    results_dir: ResultsDirOption = RESULTS_DIR,
) -> int:
    """Write a trained model in another format, and verify it before calling it done.

    The export is loaded again in a fresh process without aptune, its logits on real batches are
    compared with the trained model's, and its latency is measured beside the unpruned model's.
    """
    run_dir = find_finished_run(run, results_dir)
    folder = out or run_dir / f"export-{to}"
    record = _ship(run_dir, to, folder)
    _tell(record, folder)
    return EXIT_OK


def _ship(run_dir: Path, to: Format, folder: Path) -> "ExportRecord":
    from apt_core.report import RunReport
    from apt_core.trainer.build_export import Shipment

    try:
        config = config_from_json(json.loads((run_dir / CONFIG_FILE).read_text(encoding="utf-8")))
        report = RunReport.load(run_dir / RESULT_FILE)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"RUN: {run_dir} cannot be read: {error}") from error
    return Shipment(run_dir, config, report, to=to).ship(folder)


def _tell(record: "ExportRecord", folder: Path) -> None:
    console = make_console()
    check = record.check
    say(
        console,
        f"logits: equal to the trained model's to {check.max_difference:.1e} on {check.num_rows} "
        "rows, reloaded in a fresh process without aptune",
    )
    for point in record.speed:
        say(
            console,
            f"batch {point.batch_size}: {point.latency_ms:.2f} ms, unpruned "
            f"{point.dense_latency_ms:.2f} ms, speed-up {point.speedup:.2f}",
        )
    for warning in record.warnings:
        say(console, f"WARNING: {warning}")
    say(console, f"export: {folder}")


if __name__ == "__main__":
    run_app(app)

"""`aptune bench`: what a step of every phase costs beside plain LoRA, in this process."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.common import ConfigOption, SetOption, read_config, run_app

EPILOG = """
Examples:

aptune bench -c demo --dry-run

aptune bench -c demo --repeats 5 --no-memory

aptune bench -c real_sst2 --density 0.4 --profile -s hardware.num_threads=2

aptune bench --random-weights -s model.model_type=llama -s data.dataset=alpaca
-s hardware.gpus_per_worker=1 -s hardware.precision=bf16

Every round gives each phase one step, so that a slow moment meets all of them; the numbers that
count are the ratios to the control, dense LoRA on q and v. See docs/bench.md.
"""

SeqLenOption = Annotated[int, typer.Option("--seq-len", min=2, help="Tokens per row.")]
BatchSizeOption = Annotated[int, typer.Option("--batch-size", min=1, help="Rows per step.")]
DensityOption = Annotated[
    float,
    typer.Option("--density", min=0.01, max=0.99, help="Share of the layers that the cut leaves."),
]
RepeatsOption = Annotated[
    int, typer.Option("--repeats", min=1, help="Timed rounds; the median counts.")
]
RandomWeightsOption = Annotated[
    bool,
    typer.Option(
        "--random-weights", help="Read the model's config.json only: no weights, no tokenizer."
    ),
]
MemoryOption = Annotated[
    bool,
    typer.Option(
        "--memory/--no-memory",
        help="Measure peak memory by phase; on a CPU in one fresh process for each.",
    ),
]
ProfileOption = Annotated[
    bool,
    typer.Option(
        "--profile/--no-profile", help="See where the time of steps and forward passes goes."
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out", help="For bench.json; default: <results_dir>/<name>/bench.", metavar="DIR"
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the JSON, not the tables.")]
TrackOption = Annotated[
    bool, typer.Option("--track", help="Show the result in MLflow, too (tracking.uri).")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be measured; measure nothing.")
]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(epilog=EPILOG)
def bench(  # noqa: PLR0917 - options of a command line, never called by position
    config: ConfigOption = None,
    sets: SetOption = None,
    seq_len: SeqLenOption = 64,
    batch_size: BatchSizeOption = 32,
    density: DensityOption = 0.4,
    repeats: RepeatsOption = 20,
    random_weights: RandomWeightsOption = False,
    memory: MemoryOption = True,
    profile: ProfileOption = False,
    out: OutOption = None,
    as_json: JsonOption = False,
    track: TrackOption = False,
    dry_run: DryRunOption = False,
) -> int:
    """Time training steps by phase, memory, surgery and inference beside plain LoRA and the bound.

    On random batches without padding; needs neither Ray nor a tracking server nor the dataset.
    """
    from apt_core.bench.settings import BenchSettings
    from jobs.bench_run import plan_bench, run_plan, say_plan

    resolved = read_config(config, [*(sets or []), "orchestration.grid=[]"])
    settings = BenchSettings(
        seq_len=seq_len,
        target_len=min(seq_len, resolved.data.max_target_length),
        batch_size=batch_size,
        density=density,
        repeats=repeats,
        random_weights=random_weights,
        measure_memory=memory,
        profile=profile,
    )
    plan = plan_bench(resolved, settings, out, is_dry=dry_run)
    if dry_run:
        return say_plan(plan)
    return run_plan(plan, as_json=as_json, is_tracked=track)


if __name__ == "__main__":
    run_app(app)

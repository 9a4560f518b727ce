"""`aptune plan`: what a training would need, before a GPU is asked for."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.common import ConfigOption, SetOption, read_config, run_app

EPILOG = """
Examples:

aptune plan --model llama-2-7b --device h100 --gpus-per-node 8

aptune plan --model llama-2-70b --device h100 --gpus-per-node 8 --nodes 4 --batch-size 64
-s hardware.gradient_checkpointing=true

aptune plan -c apt_encoder_glue-large --device a100-80 --json

aptune plan -c demo --device cpu --memory 8 --bench runs/demo/bench/bench.json

Needs neither a GPU nor weights: a config.json is enough, and the named shapes bring theirs. See
docs/plan.md for the formulas, and for what was never measured.
"""

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="roberta-base, t5-base, llama-2-7b, llama-2-13b or llama-2-70b; or a folder with a "
        "config.json, or a hub id. Default: the configuration's model.",
    ),
]
DeviceOption = Annotated[
    str, typer.Option("--device", help="a100-40, a100-80, h100, h200 or cpu: whose data sheet.")
]
NodesOption = Annotated[int, typer.Option("--nodes", min=1, help="Machines.")]
GpusOption = Annotated[int, typer.Option("--gpus-per-node", min=1, help="Workers on each.")]
MemoryOption = Annotated[
    float | None,
    typer.Option(
        "--memory", min=0.1, help="GiB of one GPU; default: the data sheet's.", metavar="GIB"
    ),
]
BatchSizeOption = Annotated[
    int | None,
    typer.Option("--batch-size", min=1, help="Rows per optimizer step, all workers together."),
]
MicroBatchOption = Annotated[
    int | None,
    typer.Option("--micro-batch", min=1, help="Rows that one worker works on at a time."),
]
SeqLenOption = Annotated[
    int | None, typer.Option("--seq-len", min=1, help="Tokens per row; default: data.max_length.")
]
StepsOption = Annotated[
    int | None, typer.Option("--steps", min=1, help="Optimizer steps of the whole training.")
]
BenchOption = Annotated[
    Path | None,
    typer.Option(
        "--bench",
        help="A bench.json: its rates and the shares of them that were reached, not a data sheet.",
        metavar="FILE",
    ),
]
EfficiencyOption = Annotated[
    float | None,
    typer.Option(
        "--efficiency",
        min=0.01,
        max=1.0,
        help="Share of the rates that a step reaches; default: 0.4, an assumption, or --bench.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the JSON, not the tables.")]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(epilog=EPILOG)
def plan(  # noqa: PLR0917 - options of a command line, never called by position
    config: ConfigOption = None,
    sets: SetOption = None,
    model: ModelOption = None,
    device: DeviceOption = "h100",
    nodes: NodesOption = 1,
    gpus_per_node: GpusOption = 1,
    memory: MemoryOption = None,
    batch_size: BatchSizeOption = None,
    micro_batch: MicroBatchOption = None,
    seq_len: SeqLenOption = None,
    steps: StepsOption = None,
    bench: BenchOption = None,
    efficiency: EfficiencyOption = None,
    as_json: JsonOption = False,
) -> int:
    """Predict memory per GPU and time per phase under ZeRO 0 to 3, and say what fits.

    Without a GPU, without weights, without a dataset: from the shape of the model alone.
    """
    from jobs.plan_request import Cluster, Sizes, make_request
    from jobs.plan_run import say_capacity

    overrides = [*(sets or []), "orchestration.grid=[]"]
    if steps is not None:
        overrides += [f"training.max_steps={steps}", "training.num_epochs=null"]
    request = make_request(
        read_config(config, overrides),
        model,
        cluster=Cluster(device, nodes, gpus_per_node, memory),
        sizes=Sizes(batch_size, micro_batch, seq_len),
        bench=bench,
        efficiency=efficiency,
    )
    return say_capacity(request, as_json=as_json)


if __name__ == "__main__":
    run_app(app)

"""`aptune train`: one training, on Ray as a sweep of one cell, or ``--local`` in this process."""

from typing import Annotated

import typer

from apt_core.config import seed_flag_overrides
from jobs.common import (
    AblationOption,
    ConfigOption,
    DatasetOption,
    DryRunOption,
    ModelTypeOption,
    SetOption,
    SparsityOption,
    base_arguments,
    read_config,
    run_app,
)

EPILOG = """
Examples:

aptune train -c demo --dry-run

aptune train -c demo -s training.seed=2 -s pruning.target_sparsity=0.4

aptune train --model_type roberta --dataset sst2 --sparsity_level 0.6 --ablation full

torchrun --nproc-per-node 2 -m -- jobs.train --local -c demo -s hardware.num_workers=2
"""

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(epilog=EPILOG)
def train(  # noqa: PLR0917 - options of a command line, never called by position
    config: ConfigOption = None,
    sets: SetOption = None,
    model_type: ModelTypeOption = None,
    dataset: DatasetOption = None,
    sparsity_level: SparsityOption = None,
    ablation: AblationOption = None,
    local: Annotated[
        bool,
        typer.Option(
            "--local", help="Train in this process: no Ray, no tracking. Works under torchrun."
        ),
    ] = False,
    dry_run: DryRunOption = False,
) -> int:
    """Train one model; a grid in the configuration is ignored, a finished training is kept."""
    flags = seed_flag_overrides(model_type, dataset, sparsity_level, ablation)
    overrides = [*flags, *(sets or [])]
    resolved = read_config(config, [*overrides, "orchestration.grid=[]"])

    from jobs.planning import make_plan
    from jobs.preflight import Place

    place = Place.NOWHERE if dry_run else Place.HERE if local else Place.CLUSTER
    plan = make_plan(resolved, base_arguments(config or [], overrides), place)
    if dry_run:
        from jobs.dry_run import describe

        return describe(plan)
    if local:
        from jobs.local import run_here

        return run_here(plan)

    from jobs.launch import launch

    return launch(plan)


if __name__ == "__main__":
    run_app(app)

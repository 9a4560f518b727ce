"""`aptune sweep`: every cell of the configuration's grid, on Ray."""

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

aptune sweep -c demo --dry-run

aptune sweep -c demo

aptune sweep -c real_sst2 -s orchestration.max_concurrent_trials=1

The grid stands in the configuration, under orchestration.grid. Running the same command again
continues what was interrupted and repeats nothing that is finished.
"""

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(epilog=EPILOG)
def sweep(  # noqa: PLR0917 - options of a command line, never called by position
    config: ConfigOption = None,
    sets: SetOption = None,
    model_type: ModelTypeOption = None,
    dataset: DatasetOption = None,
    sparsity_level: SparsityOption = None,
    ablation: AblationOption = None,
    dry_run: DryRunOption = False,
) -> int:
    """Run every cell of the grid, baselines first, then write the report."""
    flags = seed_flag_overrides(model_type, dataset, sparsity_level, ablation)
    overrides = [*flags, *(sets or [])]
    resolved = read_config(config, overrides)

    from jobs.planning import make_plan
    from jobs.preflight import Place

    place = Place.NOWHERE if dry_run else Place.CLUSTER
    plan = make_plan(resolved, base_arguments(config or [], overrides), place)
    if dry_run:
        from jobs.dry_run import describe

        return describe(plan)

    from jobs.launch import launch

    return launch(plan)


if __name__ == "__main__":
    run_app(app)

"""`--dry-run`: what would be run, when it would change its shape, and what it would need."""

import os
from collections.abc import Sequence
from pathlib import Path

import yaml
from rich import box
from rich.table import Table

from apt_core.config import PruneTimes, TrainingPlan, config_to_json
from apt_core.errors import UserError
from apt_core.tuner.schedule import tuning_budget
from jobs.common import EXIT_OK, make_console, print_whole, say
from jobs.estimate import estimate, num_adapter_params
from jobs.planning import Plan, PlannedTrial
from orchestrator.execution.address import PRIVATE, check_address
from orchestrator.execution.local_node import local_node
from orchestrator.execution.placement import Node
from orchestrator.execution.status import trial_state
from orchestrator.progress import duration_text

UNSCALED = 1_000_000
"""Stands for the adapter parameters of a model whose size is not known here."""


def describe(plan: Plan) -> int:
    """Print a plan; nothing is started.

    Args:
        plan: A plan that passed preflight.

    Returns:
        The exit code.
    """
    console = make_console()
    say(console, "# resolved configuration")
    data = yaml.safe_dump(config_to_json(plan.config), sort_keys=False, allow_unicode=False)
    say(console, data)
    say(console, f"# {len(plan.trials)} trials, in this order, below {plan.sweep_dir}")
    print_whole(console, trial_table(plan.trials))
    for line in placement_lines(plan):
        say(console, line)
    for group in _by_schedule(plan.trials):
        say(console, f"# schedule of: {', '.join(t.spec.label for t in group)}")
        timetable = group[0].facts.plan
        if timetable is None:
            say(console, "unknown until the dataset has been fetched")
            continue
        say(console, steps_line(timetable))
        if timetable.prune.event_steps:
            print_whole(console, schedule_table(group[0], timetable))
    say(console, "dry run: nothing was started")
    return EXIT_OK


def placement_lines(plan: Plan) -> list[str]:
    """Where the trials would run: on this machine, or on the cluster if it can be asked.

    Args:
        plan: The plan.

    Returns:
        Lines of text. A trial that would be refused is told, and is no error: a grid for a large
        cluster is often looked at on a small machine.
    """
    address = plan.settings.address
    try:
        if address in PRIVATE:
            nodes: Sequence[Node] = [local_node(with_gpus=plan.wants_gpus)]
        else:
            nodes = ask_nodes(address)
        return ["# where they would run now", *plan.placement(nodes).lines()]
    except UserError as error:
        return ["# where they would run now", f"nowhere: {error}"]


def ask_nodes(address: str | None) -> Sequence[Node]:
    """The nodes of a cluster that is there.

    Args:
        address: Its address.

    Returns:
        The nodes.

    Raises:
        ConfigError: If it is not.
    """
    check_address(address)  # before Ray is imported, which takes seconds

    from orchestrator.execution.cluster import cluster, driver_output

    with driver_output(Path(os.devnull)), cluster(address) as nodes:
        return nodes()


def trial_table(trials: tuple[PlannedTrial, ...]) -> Table:
    """One row per trial: identity, keys, state, estimate."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("run id", "arm", "ablation", "sparsity", "model", "dataset", "seed", "state"):
        table.add_column(heading, no_wrap=True)
    for heading in ("steps", "memory per worker", "time"):
        table.add_column(heading, justify="right", no_wrap=True)
    for trial in trials:
        config, need = trial.cell.config, estimate(trial)
        sparsity = config.pruning.target_sparsity if config.switches.prune else 0.0
        table.add_row(
            trial.spec.run_id,
            config.arm,
            config.ablation,
            f"{sparsity:g}",
            config.model.model_type,
            config.data.dataset,
            str(config.training.seed),
            trial_state(trial.spec.run_dir, trial.spec.run_id).lower(),
            str(trial.spec.total_steps or "unknown"),
            "unknown" if need.memory_gib is None else f"about {need.memory_gib:.1f} GiB",
            "unknown until first steps" if need.time_s is None else duration_text(need.time_s),
        )
    return table


def steps_line(plan: TrainingPlan) -> str:
    """The rhythm of a training in one line."""
    line = (
        f"{plan.total_steps} steps ({plan.steps_per_epoch} per epoch), learning rate rises for "
        f"{plan.warmup_steps}, evaluation every {plan.eval_every}, checkpoint every "
        f"{plan.save_every}"
    )
    return f"{line}, distillation until step {plan.distill_stop}" if plan.distill_stop else line


def schedule_table(trial: PlannedTrial, plan: TrainingPlan) -> Table:
    """Density, tuning budget and mu at every event."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("event", "step", "density", "sparsity", "tuning budget", "mu"):
        table.add_column(heading, justify="right", no_wrap=True)
    prune = plan.prune
    for index, (step, density) in enumerate(zip(prune.event_steps, prune.densities, strict=True)):
        table.add_row(
            str(index + 1),
            str(step),
            f"{density:.4f}",
            f"{1 - density:.4f}",
            _budget_text(trial, index + 1, len(prune.event_steps)),
            _mu_text(trial, step, prune),
        )
    return table


def _budget_text(trial: PlannedTrial, event: int, num_events: int) -> str:
    """Adapter parameters allowed at an event; for a model that is not here, the growth factor."""
    config, model = trial.cell.config, trial.facts.model
    if not config.switches.grow_ranks:
        return "-"
    initial = num_adapter_params(config, model) if model else UNSCALED
    ratio = config.tuning.max_tuning_params_ratio
    budget = tuning_budget(event, num_events, initial, ratio)
    return f"{budget:,}" if model else f"x {budget / UNSCALED:.2f}"


def _mu_text(trial: PlannedTrial, step: int, prune: PruneTimes) -> str:
    if not trial.cell.config.switches.distill:
        return "-"
    from apt_core.distiller.losses import distill_weight  # imports torch

    distillation = trial.cell.config.distillation
    mu = distill_weight(
        step,
        start=prune.start,
        stop=prune.stop,
        first=distillation.distill_loss_weight_start,
        last=distillation.distill_loss_weight_end,
    )
    return f"{mu:.3f}"


def _by_schedule(trials: tuple[PlannedTrial, ...]) -> list[list[PlannedTrial]]:
    """Trials that share a schedule table, in order of appearance."""
    groups: dict[object, list[PlannedTrial]] = {}
    for trial in trials:
        config = trial.cell.config
        key = (trial.facts.plan, config.switches, config.tuning, config.distillation, config.model)
        groups.setdefault(repr(key), []).append(trial)
    return list(groups.values())

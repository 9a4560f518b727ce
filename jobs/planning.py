"""From a configuration to trials that are ready to run: the orchestrator's builder."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from apt_core.config import ExperimentConfig, config_from_json, config_to_json
from jobs.estimate import memory_gib
from jobs.preflight import CellFacts, Place, Problems, check_cells, check_surroundings, ray_address
from jobs.teachers import Teacher, find_teacher
from orchestrator.execution.address import PRIVATE
from orchestrator.execution.local_node import lacks_bf16_units, local_node
from orchestrator.execution.placement import Node
from orchestrator.execution.placement_plan import Placement, plan_placement
from orchestrator.execution.status import TrialState, trial_state
from orchestrator.execution.sweep import SweepSettings
from orchestrator.execution.trial import DEFAULT_ENTRY, TrialSpec, WorkerGroup
from orchestrator.identity import Cell, code_version, expand_grid, run_id


@dataclass(frozen=True)
class PlannedTrial:
    """A cell, what preflight found, and the trial made of both."""

    cell: Cell
    facts: CellFacts
    spec: TrialSpec


@dataclass(frozen=True)
class Plan:
    """A sweep that passed every check."""

    config: ExperimentConfig
    trials: tuple[PlannedTrial, ...]
    settings: SweepSettings

    @property
    def sweep_dir(self) -> Path:
        """``<results_dir>/<name>``."""
        return self.settings.sweep_dir

    @property
    def specs(self) -> tuple[TrialSpec, ...]:
        """The trials alone."""
        return tuple(trial.spec for trial in self.trials)

    def placement(self, nodes: Sequence[Node]) -> Placement:
        """How what is not finished would lie on these nodes.

        Args:
            nodes: What there is.

        Returns:
            The plan.

        Raises:
            ConfigError: If a trial can never fit.
        """
        pending = [
            spec.workers
            for spec in self.specs
            if trial_state(spec.run_dir, spec.run_id) is not TrialState.FINISHED
        ]
        return plan_placement(nodes, pending, self.settings.max_concurrent_trials)

    @property
    def wants_gpus(self) -> bool:
        """Whether any trial asks for a GPU."""
        return any(spec.workers.gpus_per_worker for spec in self.specs)

    @property
    def emulates_bf16(self) -> bool:
        """Whether trials compute in bf16 on this machine's processor, which has no units for it."""
        on_cpu = [
            trial.cell.config.hardware.precision
            for trial in self.trials
            if not trial.spec.workers.gpus_per_worker
        ]
        return self.settings.address in PRIVATE and "bf16" in on_cpu and lacks_bf16_units()


def make_plan(
    config: ExperimentConfig,
    base_arguments: Sequence[str],
    place: Place = Place.CLUSTER,
    *,
    entry: str = DEFAULT_ENTRY,
) -> Plan:
    """Check everything that can be checked and write the grid out as trials.

    Args:
        config: The configuration, with or without a grid.
        base_arguments: ``--config`` and ``--set`` arguments that led to it, for rerun commands.
        place: Where it is to run.
        entry: ``module:function`` that trains.

    Returns:
        The plan.

    Raises:
        UserError: With everything that is wrong.
    """
    problems = Problems()
    check_surroundings(config, problems, place)
    cells = problems.check(expand_grid, config) or []
    facts = check_cells([cell.config for cell in cells], problems)
    problems.raise_if_any()
    sweep_dir = config.orchestration.results_path / config.name
    trials: list[PlannedTrial] = []
    for cell, known in zip(cells, facts, strict=True):
        if known is not None:
            taught = problems.check(with_teacher, cell, trials)
            if taught is not None:
                trials.append(_trial(*taught, known, sweep_dir, base_arguments, entry))
    problems.raise_if_any()
    plan = Plan(config, tuple(trials), _settings(config, sweep_dir))
    if place is Place.CLUSTER and plan.settings.address in PRIVATE:
        # A cluster elsewhere is asked once we are connected; our own would only start in vain.
        plan.placement([local_node(with_gpus=plan.wants_gpus)])
    return plan


def with_teacher(cell: Cell, earlier: Sequence[PlannedTrial]) -> tuple[Cell, Teacher | None]:
    """A cell that knows where its teacher is, where it needs one that another run has trained.

    Args:
        cell: The cell.
        earlier: What is planned before it.

    Returns:
        The cell, and its teacher.
    """
    teacher = find_teacher(cell.config, [(trial.cell.config, trial.spec) for trial in earlier])
    if teacher is None or cell.config.distillation.teacher_path is not None:
        return cell, teacher
    override = f"distillation.teacher_path={json.dumps(str(teacher.folder))}"
    data = config_to_json(cell.config)
    data["distillation"]["teacher_path"] = str(teacher.folder)
    config = config_from_json(data)
    return replace(cell, config=config, overrides=(*cell.overrides, override)), teacher


def _trial(  # noqa: PLR0917 - what a trial is made of
    cell: Cell,
    teacher: Teacher | None,
    facts: CellFacts,
    sweep_dir: Path,
    base_arguments: Sequence[str],
    entry: str,
) -> PlannedTrial:
    taught_by = None if teacher is None else teacher.run_id
    identity = run_id(cell.config, facts.data_fingerprint, code_version(), taught_by)
    spec = TrialSpec(
        run_id=identity,
        label=label_of(cell.config),
        run_dir=(sweep_dir / "trials" / identity).absolute(),
        total_steps=facts.plan.total_steps if facts.plan else config_steps(cell.config),
        config=config_to_json(cell.config),
        command=rerun_command(base_arguments, cell.overrides),
        workers=_workers(cell.config, facts),
        entry=entry,
        needs=taught_by if teacher is not None and teacher.is_planned else None,
    )
    return PlannedTrial(cell, facts, spec)


def _workers(config: ExperimentConfig, facts: CellFacts) -> WorkerGroup:
    """What the trial asks the cluster for; on a GPU the estimate is of the GPU's memory."""
    hardware, model = config.hardware, facts.model
    expected = None
    if model is not None and hardware.gpus_per_worker == 0:
        expected = memory_gib(config, model)
    return WorkerGroup(
        num_workers=hardware.num_workers,
        cpus_per_worker=hardware.cpus_per_worker,
        gpus_per_worker=hardware.gpus_per_worker,
        num_threads=hardware.num_threads,
        memory_per_worker_gib=hardware.memory_per_worker_gib,
        expected_gib=expected,
        collective_timeout_s=hardware.collective_timeout_s,
    )


def config_steps(config: ExperimentConfig) -> int:
    """Steps as far as the configuration alone tells; 0: unknown before the dataset is here."""
    return config.training.max_steps or 0


def label_of(config: ExperimentConfig) -> str:
    """A trial's name for tables, e.g. ``apt w/o_Ds 0.6 roberta sst2 seed 1``."""
    parts: list[str] = [config.arm]
    if config.ablation != "full":
        parts.append(config.ablation)
    if config.switches.prune:
        parts.append(f"{config.pruning.target_sparsity:g}")
    parts += [config.model.model_type, config.data.dataset, f"seed {config.training.seed}"]
    return " ".join(parts)


def rerun_command(base_arguments: Sequence[str], overrides: Sequence[str]) -> str:
    """The command that trains one cell alone."""
    sets = [part for override in overrides for part in ("--set", override)]
    return shlex.join(["aptune", "train", *base_arguments, *sets])


def _settings(config: ExperimentConfig, sweep_dir: Path) -> SweepSettings:
    orchestration = config.orchestration
    return SweepSettings(
        sweep_dir=sweep_dir.absolute(),
        address=ray_address(config),
        max_concurrent_trials=orchestration.max_concurrent_trials,
        max_failures=orchestration.max_failures,
    )

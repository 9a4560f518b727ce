"""From the command line to a benchmark, and from its report to a table and `bench.json`."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from apt_core.bench.phases import Phase
from apt_core.bench.settings import BenchSettings
from apt_core.config import ExperimentConfig, config_to_json
from apt_core.errors import UnsupportedModelError
from apt_core.files import write_json
from apt_core.trainer.build_bench_config import bench_config, in_phase, phases_of
from jobs.bench_tracked import BENCH_FILE, tracked
from jobs.common import EXIT_OK, make_console, say
from jobs.launch import log_to
from jobs.preflight import Place, Problems, check_surroundings
from orchestrator.execution.trial import WorkerGroup
from orchestrator.model_files import check_model, check_task, locate_model

if TYPE_CHECKING:
    from apt_core.bench.report import BenchReport


@dataclass(frozen=True)
class BenchPlan:
    """A benchmark that passed every check."""

    config: ExperimentConfig
    settings: BenchSettings
    phases: tuple[Phase, ...]
    out: Path

    @property
    def facts(self) -> dict[str, Any]:
        """What is measured, for the report."""
        config = self.config
        return {
            "model": config.model.model_type,
            "arm": config.arm,
            "ablation": config.ablation,
            "task": config.data.spec.task,
            "density": self.settings.density,
        }


def plan_bench(
    config: ExperimentConfig, settings: BenchSettings, out: Path | None, *, is_dry: bool
) -> BenchPlan:
    """Check everything that can be checked before torch is loaded.

    Args:
        config: the user's configuration.
        settings: what is measured.
        out: folder for the result; None: below the results folder.
        is_dry: nothing will be measured: neither GPU nor results folder need be there.

    Returns:
        The plan.

    Raises:
        UserError: With everything that is wrong.
    """
    problems = Problems()
    check_surroundings(config, problems, Place.NOWHERE if is_dry else Place.HERE)
    problems.check(_check_files, config, has_random_weights=settings.random_weights)
    phases = problems.check(phases_of, config) or ()
    sized = problems.check(bench_config, config, settings)
    problems.raise_if_any()
    assert sized is not None, "it raised otherwise"
    folder = out or config.orchestration.results_path / config.name / "bench"
    return BenchPlan(sized, settings, phases, folder)


def _check_files(config: ExperimentConfig, *, has_random_weights: bool) -> None:
    """Of random weights only the configuration need be there."""
    path, field = config.model.path, f"model.architectures.{config.model.model_type}"
    if not has_random_weights:
        check_model(path, field)
    folder = locate_model(path)
    if folder is not None and not (folder / "config.json").is_file():
        raise UnsupportedModelError(
            f"{field}: {folder / 'config.json'} does not exist; correct the path, or give a hub id"
        )
    check_task(path, field, config.data.spec.task)


def say_plan(plan: BenchPlan) -> int:
    """Print what would be measured.

    Args:
        plan: of `plan_bench`.

    Returns:
        The exit code.
    """
    console, settings = make_console(), plan.settings
    say(console, ", ".join(f"{name} {value}" for name, value in plan.facts.items()))
    weights = "random weights" if settings.random_weights else "its own weights"
    say(console, f"{plan.config.model.path}, {weights}")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("phase", "what", "steps before", "timed steps", "time aim", "memory aim"):
        table.add_column(heading, no_wrap=heading == "phase")
    for phase in plan.phases:
        _, lead = in_phase(plan.config, phase, settings.num_steps)
        aims = (phase.aim_at(settings.density, aim) for aim in (phase.time_aim, phase.memory_aim))
        texts = ["-" if aim is None else f"<= {aim:.2f}" for aim in aims]
        steps = f"{settings.repeats} after {settings.warmup}"
        table.add_row(phase.name, phase.meaning, str(lead), steps, *texts)
    console.print(table)
    say(console, f"training: {settings.batch_size} x {settings.seq_len} tokens")
    shapes = ", ".join(f"{rows} x {tokens}" for rows, tokens in settings.inference_shapes)
    say(console, f"inference: {shapes} tokens")
    say(console, f"dry run: nothing was measured; {plan.out / BENCH_FILE} would hold the result")
    return EXIT_OK


def run_plan(plan: BenchPlan, *, as_json: bool, is_tracked: bool = False) -> int:
    """Measure, write `bench.json` and print.

    Args:
        plan: of `plan_bench`.
        as_json: whether the JSON is printed in place of the tables.
        is_tracked: whether the result becomes a run in MLflow, too.

    Returns:
        The exit code: 0 also where aims are missed, which the table and the JSON say.
    """
    console = make_console()
    if not as_json:
        log_to(console)
    with tracked(plan.config, plan.out, is_on=is_tracked) as ship:
        report = _measure(plan)
        found = report.to_json()
        write_json(plan.out / BENCH_FILE, found)
        ship(found)
    if as_json:
        console.file.write(json.dumps(found, indent=2) + "\n")
        return EXIT_OK
    from jobs.bench_table import bench_tables

    for table in bench_tables(report):
        console.print(table)
    for note in report.notes:
        say(console, note)
    say(console, f"result: {plan.out / BENCH_FILE}")
    return EXIT_OK


def _measure(plan: BenchPlan) -> "BenchReport":
    from orchestrator.execution.worker import prepare_process

    hardware = plan.config.hardware
    prepare_process(
        WorkerGroup(
            cpus_per_worker=hardware.cpus_per_worker,
            gpus_per_worker=hardware.gpus_per_worker,
            num_threads=hardware.num_threads,
        )
    )
    plan.out.mkdir(parents=True, exist_ok=True)
    from apt_core.bench.run import run_bench
    from apt_core.trainer.build_bench import RigBuilder, measure_phase
    from apt_core.trainer.build_parts import pick_device

    config, data = plan.config, config_to_json(plan.config)
    measured = plan.phases if plan.settings.measure_memory else ()
    return run_bench(
        plan.phases,
        partial(RigBuilder, config, plan.settings, plan.out),
        {phase: partial(measure_phase, data, plan.settings, plan.out, phase) for phase in measured},
        device=pick_device(config),
        facts=plan.facts,
    )

"""Rules between fields: what no single field can know. Each yields the problems it finds."""

import json
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from apt_core.config.arms import ArmSwitches, arm_switches, is_known
from apt_core.config.mode import OFFICIAL
from apt_core.config.problems import Problem, did_you_mean
from apt_core.data.tasks import HOLDOUT

if TYPE_CHECKING:
    from apt_core.config.experiment import ExperimentConfig

_CREDENTIALS = re.compile(r"://[^/\s@]+@")


def _switches(config: "ExperimentConfig") -> ArmSwitches:
    """What the arm does; the whole of it where the ablation is not one of its own."""
    known = is_known(config.arm, config.ablation)
    return arm_switches(config.arm, config.ablation if known else "full")


def _ablation_needs_apt(config: "ExperimentConfig") -> Iterator[Problem]:
    if not is_known(config.arm, config.ablation):
        todo = "set arm to apt, or ablation to full"
        wrong = f"only arm apt can be ablated, and arm is {config.arm}"
        yield Problem("ablation", wrong, todo, config.ablation, ("arm",))


def _official_is_official_throughout(config: "ExperimentConfig") -> Iterator[Problem]:
    if config.mode != "official":
        return
    for path, wanted in OFFICIAL.items():
        section, _, name = path.partition(".")
        given = getattr(getattr(config, section), name)
        if given != wanted:
            value = json.dumps(wanted)
            todo = f"set it to {value}, lay the recipe official over yours, or set mode to paper"
            yield Problem(path, f"is {value} in mode official", todo, given, ("mode",))


def _chosen_entries_exist(config: "ExperimentConfig") -> Iterator[Problem]:
    models, datasets = list(config.model.architectures), list(config.data.datasets)
    table = "model.architectures"
    yield from _unknown("model.model_type", config.model.model_type, models, table)
    yield from _unknown("data.dataset", config.data.dataset, datasets, "data.datasets")
    for i, block in enumerate(config.orchestration.grid):
        path = f"orchestration.grid[{i}]"
        for name in block.model or ():
            yield from _unknown(f"{path}.model", name, models, table)
        for name in block.dataset or ():
            yield from _unknown(f"{path}.dataset", name, datasets, "data.datasets")


def _unknown(path: str, name: str, known: list[str], table: str) -> Iterator[Problem]:
    if name not in known:
        todo = did_you_mean(name, known) + f", or add it to {table}"
        yield Problem(path, f"is not an entry of {table}", todo, name, (table,))


def _batch_divides(config: "ExperimentConfig") -> Iterator[Problem]:
    training, workers = config.training, config.hardware.num_workers
    micro = training.micro_batch_size or 1
    if training.batch_size % (workers * micro) == 0:
        return
    if training.micro_batch_size is None:
        wrong = f"does not divide evenly over {workers} workers"
        todo = f"set it to a multiple of hardware.num_workers ({workers})"
    else:
        wrong = f"is not a multiple of {workers} workers x micro_batch_size {micro}"
        todo = f"set it to a multiple of {workers * micro}, or change training.micro_batch_size"
    others = ("hardware.num_workers", "training.micro_batch_size")
    yield Problem("training.batch_size", wrong, todo, training.batch_size, others)


def _length_is_known(config: "ExperimentConfig") -> Iterator[Problem]:
    if config.training.num_epochs is None and config.training.max_steps is None:
        wrong = "the length of training is not known: max_steps is null too"
        yield Problem(
            "training.num_epochs", wrong, "set one of them", None, ("training.max_steps",)
        )


def _gpus_are_shared_or_whole(config: "ExperimentConfig") -> Iterator[Problem]:
    gpus = config.hardware.gpus_per_worker
    if gpus > 1 and gpus != int(gpus):
        wrong, todo = "is above 1 and no whole number", "set it to a whole number, or to 1 or less"
        yield Problem("hardware.gpus_per_worker", wrong, todo, gpus)


def _tracking_address_holds_no_password(config: "ExperimentConfig") -> Iterator[Problem]:
    if _CREDENTIALS.search(config.tracking.uri or ""):
        # What was given is not shown: the message ends up in logs.
        wrong = "holds a user or a password, and the configuration is written beside every run"
        todo = (
            "leave them out of the address and export MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD where it runs"
        )
        yield Problem("tracking.uri", wrong, todo)


def _fp16_is_possible(config: "ExperimentConfig") -> Iterator[Problem]:
    hardware = config.hardware
    if hardware.precision != "fp16":
        return
    if hardware.gpus_per_worker == 0:
        todo = "set hardware.precision to bf16 or fp32, or hardware.gpus_per_worker above 0"
        others = ("hardware.gpus_per_worker",)
        yield Problem("hardware.precision", "fp16 needs a GPU", todo, "fp16", others)
    if hardware.engine == "deepspeed" and hardware.zero_stage == 0:
        todo = "set hardware.zero_stage to 1 or higher, or hardware.precision to bf16 or fp32"
        involved = ("hardware.precision", "hardware.engine")
        yield Problem("hardware.zero_stage", "fp16 needs ZeRO", todo, 0, involved)


def _events_are_told_once(config: "ExperimentConfig") -> Iterator[Problem]:
    pruning = config.pruning
    if pruning.update_frequency is not None and pruning.num_events is not None:
        path = "pruning.update_frequency"
        wrong = f"excludes pruning.num_events, which is {pruning.num_events}"
        given = str(pruning.update_frequency)
        yield Problem(path, wrong, "set one of the two to null", given, ("pruning.num_events",))


def _distillation_makes_sense(config: "ExperimentConfig") -> Iterator[Problem]:
    distillation = config.distillation
    start, end = distillation.distill_loss_weight_start, distillation.distill_loss_weight_end
    if start > end:
        path = "distillation.distill_loss_weight_start"
        wrong = f"is above distill_loss_weight_end, which is {end}"
        todo = "mu rises or stays: set the start at or below the end"
        yield Problem(path, wrong, todo, start, ("distillation.distill_loss_weight_end",))
    has_layer_loss = _switches(config).layer_loss and distillation.layer_weight > 0
    if distillation.prediction_weight == 0 and not has_layer_loss:
        path = "distillation.prediction_weight"
        todo = "set one of them above 0, or ablation to w/o_Ds"
        involved = ("distillation.layer_weight",)
        yield Problem(path, "is 0 like layer_weight: nothing to distil", todo, 0, involved)


def _ranks_may_start(config: "ExperimentConfig") -> Iterator[Problem]:
    cap, initial = config.tuning.max_rank, config.training.initial_rank
    if cap is not None and cap < initial:
        wrong = f"is below training.initial_rank, which is {initial}"
        todo = f"set it to {initial} or more, or to null"
        yield Problem("tuning.max_rank", wrong, todo, cap, ("training.initial_rank",))


def _one_shot_stays_below_the_target(config: "ExperimentConfig") -> Iterator[Problem]:
    pruning = config.pruning
    if pruning.pre_tuning_sparsity > pruning.target_sparsity:
        wrong = f"is above pruning.target_sparsity, which is {pruning.target_sparsity:g}"
        todo = f"set it to {pruning.target_sparsity:g} or less"
        given, others = pruning.pre_tuning_sparsity, ("pruning.target_sparsity",)
        yield Problem("pruning.pre_tuning_sparsity", wrong, todo, given, others)


def _external_teachers_know_the_whole_model(config: "ExperimentConfig") -> Iterator[Problem]:
    one_shot = config.pruning.pre_tuning_sparsity
    if _switches(config).teacher != "self" and one_shot > 0:
        path = "pruning.pre_tuning_sparsity"
        wrong = f"excludes ablation {config.ablation}, whose teacher joins the whole model"
        yield Problem(path, wrong, "set it to 0, or ablation to full", one_shot, ("ablation",))


def _gates_have_something_to_close(config: "ExperimentConfig") -> Iterator[Problem]:
    if _switches(config).pruning_method == "l0_gates" and config.pruning.target_sparsity == 0:
        todo = "set it above 0, or arm to one that does not prune (ft, lora)"
        wrong = f"leaves the L0 gates of arm {config.arm} nothing to close"
        yield Problem("pruning.target_sparsity", wrong, todo, 0, ("arm",))


def _gates_count_parameters(config: "ExperimentConfig") -> Iterator[Problem]:
    constraint = config.pruning.constraint
    if _switches(config).pruning_method == "l0_gates" and constraint != "params":
        wrong = f"is {constraint}, and the L0 gates of arm {config.arm} can only count parameters"
        yield Problem("pruning.constraint", wrong, "set it to params", constraint, ("arm",))


def _searches_are_fair(config: "ExperimentConfig") -> Iterator[Problem]:
    tries = [block.num_tries for block in config.orchestration.grid]
    searched = [i for i, block in enumerate(config.orchestration.grid) if block.search]
    if not searched:
        return
    for i, count in enumerate(tries):
        if count != max(tries):
            wrong = f"has {count} tries, and another block has {max(tries)}"
            todo = "give every block equally many, so that no arm is favoured"
            yield Problem(f"orchestration.grid[{i}].search", wrong, todo, count)
    if not config.training.choose_best:
        wrong = "is off, and a search needs a score on held-out rows"
        todo = "set it to true, and data.holdout_rows above 0"
        involved = tuple(f"orchestration.grid[{i}].search" for i in searched)
        yield Problem("training.choose_best", wrong, todo, False, involved)


def _what_is_chosen_is_not_reported(config: "ExperimentConfig") -> Iterator[Problem]:
    wanted = {
        "training.choose_best": config.training.choose_best,
        "distillation.refresh_teacher": (
            config.distillation.refresh_teacher and _switches(config).may_refresh_teacher
        ),
    }
    data = config.data
    if data.dataset not in data.datasets:
        return
    for path in (path for path, is_on in wanted.items() if is_on):
        if data.num_holdout_rows == 0:
            wrong = "is judged on held-out rows, and none are held out"
            todo = "set data.holdout_rows, for example to 1000, or this to false"
            yield Problem(path, wrong, todo, True, ("data.holdout_rows",))
        elif data.spec.eval_split == HOLDOUT and config.metric_name != "lm_eval":
            wrong = f"would choose by the rows on which dataset {data.dataset} is reported"
            field = f"data.datasets.{data.dataset}.eval_split"
            todo = f"set {field} to another split than {HOLDOUT}, or this to false"
            yield Problem(path, wrong, todo, True, (field,))


RULES: tuple[Callable[["ExperimentConfig"], Iterator[Problem]], ...] = (
    _ablation_needs_apt,
    _official_is_official_throughout,
    _chosen_entries_exist,
    _batch_divides,
    _length_is_known,
    _gpus_are_shared_or_whole,
    _tracking_address_holds_no_password,
    _fp16_is_possible,
    _events_are_told_once,
    _distillation_makes_sense,
    _ranks_may_start,
    _one_shot_stays_below_the_target,
    _external_teachers_know_the_whole_model,
    _gates_have_something_to_close,
    _gates_count_parameters,
    _searches_are_fair,
    _what_is_chosen_is_not_reported,
)


def broken_rules(config: "ExperimentConfig") -> tuple[Problem, ...]:
    """Every problem between fields that are valid one by one."""
    return tuple(problem for rule in RULES for problem in rule(config))

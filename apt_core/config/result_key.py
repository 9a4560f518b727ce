"""What of a configuration changes the result of a run: the raw material of its identity.

Left out: names, places, cluster and tracking settings, what only measures, and every setting of a
part that the arm switches off. Values that mean the same are written the same.
"""

from typing import TYPE_CHECKING, Any

from apt_core.config.arms import same_ablation
from apt_core.config.base import Section
from apt_core.data.prompts import default_prompt

if TYPE_CHECKING:
    from apt_core.config.experiment import ExperimentConfig

_BOOKKEEPING = {"log_every", "save_every", "keep_checkpoints"}
_ADAPTERS_ONLY = {"initial_rank", "scaling_factor"}
_PLACEMENT = {
    "gpus_per_worker",
    "cpus_per_worker",
    "memory_per_worker_gib",
    "num_threads",
    "collective_timeout_s",
}
_KURTOSIS = {"use_kurtosis", "kurtosis_weight"}
_CHOICE_OF_ADAPTERS = {"rank_increase_strategy", "growth", "importance"}
_LAYER_LOSS = {
    "layer_weight",
    "teacher_layer_mapping",
    "num_teacher_layers",
    "projection_rank",
    "mask_padding",
}
_CONSTRAINT = {"constraint", "constraint_length", "latency_batch_size"}
_PROTECTED = {"protect_first_layers", "protect_last_layers"}
_BEFORE_TRAINING = {
    "target_sparsity",
    "min_heads",
    "min_neurons",
    "round_to",
    "calibration_batches",
    "calibration_batch_size",
    *_PROTECTED,
}
_PRUNES_ONLY = {
    "target_sparsity",
    "use_kurtosis",
    "kurtosis_weight",
    "warmup",
    "window",
    "mask_step",
    "min_heads",
    "min_neurons",
    "min_hidden",
    "scheduler",
    "round_to",
    "pre_tuning_sparsity",
    "calibration_batches",
    "calibration_batch_size",
}
_ONE_SHOT = {
    "target_sparsity",
    "stop",
    "min_heads",
    "min_neurons",
    "round_to",
    "calibration_batches",
    "calibration_batch_size",
    "rescale",
}
_GATES_ONLY = {"gate_learning_rate", "gate_drop_rate"}
_WITH_GATES = {
    "target_sparsity",
    "start",
    "warmup",
    "stop",
    "min_heads",
    "min_neurons",
    "min_hidden",
    "round_to",
    *_GATES_ONLY,
}
_KEYS_OF_METHOD = {
    "one_shot": _ONE_SHOT,
    "l0_gates": _WITH_GATES,
    "before_training": _BEFORE_TRAINING,
}
"""What counts of section `pruning`, where a method other than APT's removes blocks."""


def result_key(config: "ExperimentConfig") -> dict[str, Any]:
    """The JSON-able subset of a configuration that changes its result.

    Args:
        config: A valid configuration; ${ENV} in the chosen paths must be set.

    Returns:
        Nested dictionaries; two runs that must come out alike have equal ones.
    """
    switches = config.switches
    key: dict[str, Any] = {
        "arm": config.arm,
        "ablation": same_ablation(config.ablation),
        "model": _model(config),
        "data": _data(config),
        "training": _training(config),
        "hardware": _hardware(config),
    }
    if switches.has_events:
        key["pruning"] = _pruning(config)
    if switches.grow_ranks:
        key["tuning"] = _tuning(config)
    if switches.distill:
        key["distillation"] = _distillation(config)
    return key


def _dump(section: Section, exclude: set[str] | None = None) -> dict[str, Any]:
    return section.model_dump(mode="json", exclude=exclude)


def _model(config: "ExperimentConfig") -> dict[str, Any]:
    model, switches = config.model, config.switches
    key = _dump(model, {"model_type", "architectures", "adapter"})
    key["path"] = model.path
    if switches.adapters and not switches.adapt_all_linears:
        ffn = switches.ffn_adapters and model.adapter.apply_to_ffn is not False
        key["adapter"] = {
            "mha_components": sorted(model.adapter.mha_components),
            "apply_to_ffn": model.adapter.apply_to_ffn if ffn else False,
            "ffn_components": sorted(model.adapter.ffn_components) if ffn else [],
        }
    return key


def _data(config: "ExperimentConfig") -> dict[str, Any]:
    data, spec = config.data, config.data.spec
    # Windows are for question answering alone.
    unused = set() if spec.task == "qa" else {"doc_stride"}
    key = _dump(data, {"dataset", "datasets", "cache_dir"} | unused)
    key["holdout_rows"] = data.num_holdout_rows
    key["pad_to_multiple_of"] = config.pad_to_multiple_of
    key["spec"] = {
        **_dump(spec),
        "path": spec.expanded_path,
        "metric": config.metric_name,
        "label_column": spec.target_column,
        "label_words": list(spec.label_words or spec.labels),
        "prompt": spec.prompt or default_prompt(spec.task, data.dataset, spec.text_columns),
    }
    return key


def _training(config: "ExperimentConfig") -> dict[str, Any]:
    training, switches = config.training, config.switches
    dropped = set(_BOOKKEEPING)
    if not training.choose_best:
        dropped.add("choose_best")
    if not switches.adapters:
        dropped |= _ADAPTERS_ONLY
    if not switches.has_events:
        dropped.add("lr_after_event")
    if not switches.measures_salience:
        dropped.add("momentum_salience")
    cuts_while_training = switches.has_events and switches.pruning_method != "before_training"
    if not (cuts_while_training or switches.distill):
        dropped.add("optimizer_on_surgery")
    dropped.add("train_head" if switches.train_all_weights else "freeze_embeddings")
    if not switches.train_head:
        dropped.add("train_head")
    key = _dump(training, dropped)
    key["micro_batch_size"] = config.micro_batch_size
    key["head_learning_rate"] = training.head_learning_rate or training.learning_rate
    if training.max_steps is not None:
        key["num_epochs"] = None
    return key


def _pruning(config: "ExperimentConfig") -> dict[str, Any]:
    return _blocks_removed(config) | _constraint(config)


def _constraint(config: "ExperimentConfig") -> dict[str, Any]:
    """What the target counts, where that is not parameters."""
    pruning = config.pruning
    if not config.switches.prune or pruning.constraint == "params":
        return {}
    key: dict[str, Any] = {
        "constraint": pruning.constraint,
        "constraint_length": pruning.constraint_length or config.data.max_length,
    }
    if pruning.constraint == "latency_ms":
        key["latency_batch_size"] = pruning.latency_batch_size
    return key


def _blocks_removed(config: "ExperimentConfig") -> dict[str, Any]:
    pruning, switches = config.pruning, config.switches
    if switches.pruning_method in _KEYS_OF_METHOD:
        return pruning.model_dump(mode="json", include=_KEYS_OF_METHOD[switches.pruning_method])
    if not switches.prune:
        # The teacher is taken where the first window would open.
        dropped = _PRUNES_ONLY - ({"window"} if switches.distill else set())
    else:
        dropped = {"kurtosis_weight"} if pruning.use_kurtosis is False else set()
        if pruning.pre_tuning_sparsity == 0:
            dropped |= {"calibration_batches", "calibration_batch_size"}
        if not switches.outlier_term or switches.block_score != "salience":
            dropped |= _KURTOSIS
    dropped |= {"rescale"} | _GATES_ONLY | _CONSTRAINT | _PROTECTED
    return {**_dump(pruning, dropped), "num_events": pruning.event_count}


def _tuning(config: "ExperimentConfig") -> dict[str, Any]:
    if not config.switches.choose_adapters:
        return _dump(config.tuning, _CHOICE_OF_ADAPTERS | {"max_rank"})
    cap = config.tuning.rank_cap(config.training.initial_rank)
    return {**_dump(config.tuning), "max_rank": cap}


def _distillation(config: "ExperimentConfig") -> dict[str, Any]:
    # Who teaches is a run: its own identity counts, not where it lies.
    dropped = {"teacher_path"}
    if not (config.distillation.refresh_teacher and config.switches.may_refresh_teacher):
        dropped.add("refresh_teacher")
    if config.switches.teacher != "self":
        dropped.add("start_event")
    if not config.switches.layer_loss:
        dropped |= _LAYER_LOSS
    return _dump(config.distillation, dropped)


def _hardware(config: "ExperimentConfig") -> dict[str, Any]:
    unused = {"zero_stage"} if config.hardware.engine == "torch" else set()
    return _dump(config.hardware, _PLACEMENT | unused)

"""What a trial will need: memory from parameter counts, time from earlier runs of its kind."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from apt_core.config import ExperimentConfig
from apt_core.report import RunReport
from orchestrator.execution.status import RESULT_FILE
from orchestrator.model_files import ModelFacts

if TYPE_CHECKING:
    from jobs.planning import PlannedTrial

GIB = 2.0**30
ALL_LINEARS = 4, 3
"""Projections of attention and of a gated feed-forward part."""
PROCESS_GIB = 0.7
"""One worker before the model: interpreter, torch, transformers, DeepSpeed."""
BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
OPTIMIZER_BYTES = 12
"""Per trainable parameter: two Adam moments and a master copy in fp32."""
VALUES_PER_TOKEN = 34 / 2
"""Activations kept for backward, in values per token, layer and hidden dimension."""
ATTENTION_VALUES = 5 / 2
"""The same for attention scores, per head and pair of tokens."""


@dataclass(frozen=True)
class Estimate:
    """Rough numbers; None where nothing is known."""

    memory_gib: float | None
    """Peak of one worker."""
    time_s: float | None


def estimate(trial: "PlannedTrial") -> Estimate:
    """Estimate one trial.

    Args:
        trial: The trial.

    Returns:
        Memory of one worker and time of the whole training.
    """
    model = trial.facts.model
    memory = None if model is None else memory_gib(trial.cell.config, model)
    return Estimate(memory, _time_s(trial))


def memory_gib(config: ExperimentConfig, model: ModelFacts) -> float:
    """Peak memory of one worker: process, weights, gradients, optimizer, activations.

    Args:
        config: The trial's configuration.
        model: Sizes of the model.

    Returns:
        GiB, accurate to perhaps a third.
    """
    width = BYTES[config.hardware.precision]
    trainable = num_trainable_params(config, model)
    weights = model.num_params * width
    training = trainable * (width + OPTIMIZER_BYTES)
    tokens = config.micro_batch_size * config.data.max_length
    per_token = VALUES_PER_TOKEN * model.hidden_size
    per_token += ATTENTION_VALUES * model.num_heads * config.data.max_length
    activations = tokens * model.num_layers * per_token * width
    return PROCESS_GIB + (weights + training + activations) / GIB


def num_trainable_params(config: ExperimentConfig, model: ModelFacts) -> int:
    """Parameters that learn at the end of training, the task head not counted."""
    if config.switches.train_all_weights:
        return model.num_params
    adapters = num_adapter_params(config, model)
    grows = config.switches.grow_ranks
    return int(adapters * (config.tuning.max_tuning_params_ratio if grows else 1.0))


def num_adapter_params(config: ExperimentConfig, model: ModelFacts) -> int:
    """Adapter parameters at step 0: initial rank x (inputs + outputs), over all adapted layers.

    Exact for encoders whose attention is as wide as the hidden size.
    """
    if not config.switches.adapters:
        return 0
    adapter, hidden = config.model.adapter, model.hidden_size
    attention, ffn = len(adapter.mha_components), 0
    if config.switches.ffn_adapters and adapter.apply_to_ffn is not False:
        ffn = len(adapter.ffn_components)
    if config.switches.adapt_all_linears:
        attention, ffn = ALL_LINEARS
    width = attention * 2 * hidden + ffn * (hidden + model.intermediate_size)
    return config.training.initial_rank * width * model.num_layers


def _time_s(trial: "PlannedTrial") -> float | None:
    """From finished runs of the same arm, model and dataset beside this one, scaled by steps."""
    config = trial.cell.config
    wanted = (config.arm, config.ablation, config.model.model_type, config.data.dataset)
    times = []
    for path in trial.spec.run_dir.parent.glob(f"*/{RESULT_FILE}"):
        try:
            report = RunReport.load(path)
        except (OSError, ValueError, TypeError, KeyError):
            continue
        if (report.arm, report.ablation, report.model, report.dataset) == wanted:
            times.append((report.train_time_s + report.eval_time_s) / report.total_steps)
    return min(times) * trial.spec.total_steps if times and trial.spec.total_steps else None

"""The parts that the builder puts together; like the builder, they read configuration."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from apt_core.adapters.inject import freeze_all_but, inject_adapters
from apt_core.config import ExperimentConfig
from apt_core.config.plan import TrainingPlan
from apt_core.data.loader import DatasetLoader
from apt_core.data.prefetch import prefetched
from apt_core.data.tasks import TaskSpec
from apt_core.models.loading import LoadedModel, load_model, load_tokenizer
from apt_core.models.modules import checkpoint_activations
from apt_core.models.structure import Structure
from apt_core.models.trained_modules import STUDENT
from apt_core.pruner.search import Floors
from apt_core.trainer import distributed
from apt_core.trainer.engine import Engine, EngineFactory, OptimizerSnapshot
from apt_core.trainer.optim import OptimizerSettings
from apt_core.trainer.torch_engine import TorchEngine

MHA_ROLES = frozenset({"q_proj", "k_proj", "v_proj", "o_proj"})
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
PACKAGES = ("torch", "transformers", "deepspeed", "ray", "safetensors")


def pick_device(config: ExperimentConfig) -> torch.device:
    """CUDA when workers get GPUs, else the CPU."""
    if config.hardware.gpus_per_worker > 0 and torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
        return device
    return torch.device("cpu")


def build_loader(config: ExperimentConfig, tokenizer: Any, loaded: LoadedModel) -> DatasetLoader:
    """The data of this worker."""
    data, training = config.data, config.training
    return DatasetLoader(
        TaskSpec.of(config.data.dataset, data.spec),
        tokenizer,
        max_length=data.max_length,
        max_target_length=data.max_target_length,
        doc_stride=data.doc_stride,
        train_rows=data.train_rows,
        eval_rows=data.eval_rows,
        holdout_rows=data.num_holdout_rows,
        bucket_batches=data.bucket_batches,
        pad_to_multiple_of=config.pad_to_multiple_of,
        seed=training.seed,
        batch_size=training.batch_size,
        micro_batch_size=config.micro_batch_size,
        eval_batch_size=config.evaluation.batch_size,
        rank=distributed.rank(),
        world_size=distributed.world_size(),
        cache_dir=data.cache_path,
        head=loaded.model_map.head_kind,
        vocab_size=loaded.config.vocab_size,
    )


def batches_on(
    loader: DatasetLoader, device: torch.device, start_step: int
) -> Iterator[Sequence[Mapping[str, Tensor]]]:
    """Training batches from a step on, made ahead and moved to the device."""
    made = ([pinned(m, device) for m in batch] for batch in loader.train_batches(start_step))
    for batch in prefetched(made):
        yield [to_device(micro_batch, device) for micro_batch in batch]


def eval_batches_on(
    loader: DatasetLoader, device: torch.device, split: str | None
) -> Iterator[tuple[Mapping[str, Tensor], int]]:
    """Batches of an evaluation split and their rows, made ahead and moved to the device."""
    made = ((pinned(batch, device), rows) for batch, rows in loader.eval_batches(split))
    for batch, num_rows in prefetched(made):
        yield to_device(batch, device), num_rows


def calibration_batches_on(
    loader: DatasetLoader, device: torch.device, config: ExperimentConfig
) -> Iterator[Mapping[str, Tensor]]:
    """The batches that one-shot pruning looks at, moved to the device."""
    pruning = config.pruning
    batches = loader.calibration_batches(
        pruning.calibration_batch_size, pruning.calibration_batches
    )
    for batch in batches:
        yield to_device(batch, device)


def pinned(batch: Mapping[str, Tensor], device: torch.device) -> Mapping[str, Tensor]:
    """A batch in memory from which a GPU copies while it computes; the same batch for the CPU."""
    if device.type != "cuda":
        return batch
    with torch.cuda.device(device):  # the thread that makes batches has a current device of its own
        return {name: tensor.pin_memory() for name, tensor in batch.items()}


def to_device(batch: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """A batch on a device."""
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}


def load_task_tokenizer(config: ExperimentConfig) -> Any:
    """The tokenizer that belongs to the model."""
    model = config.model
    return load_tokenizer(
        model.path, revision=model.revision, trust_remote_code=model.trust_remote_code
    )


def load_task_model(config: ExperimentConfig) -> LoadedModel:
    """The pretrained model with a head for the task."""
    model = config.model
    return load_model(
        model.path,
        task_kind=config.data.spec.task,
        num_labels=config.data.spec.num_labels,
        revision=model.revision,
        trust_remote_code=model.trust_remote_code,
        dropout=model.dropout,
    )


def adapt(config: ExperimentConfig, loaded: LoadedModel) -> Structure:
    """Freeze and inject as the arm says; returns the structure with its ranks."""
    switches = config.switches
    if config.hardware.gradient_checkpointing:
        checkpoint_activations(loaded.model)
    if switches.train_all_weights:
        loaded.model.requires_grad_(True)
        if config.training.freeze_embeddings:
            for path in loaded.model_map.embeddings:
                loaded.model.get_submodule(path).requires_grad_(False)
        if switches.prune:  # layers that can be masked and cut, without adapters
            inject_adapters(
                loaded.model, loaded.model_map, ranks={}, scaling=config.training.scaling_factor
            )
        return loaded.structure
    sites = loaded.model_map.sites(_adapted_roles(config, loaded))
    ranks = dict.fromkeys(sites, config.training.initial_rank)
    trains_head = switches.train_head and config.training.train_head
    freeze_all_but(loaded.model, loaded.model_map.head if trains_head else ())
    inject_adapters(
        loaded.model, loaded.model_map, ranks=ranks, scaling=config.training.scaling_factor
    )
    return loaded.structure.with_ranks(ranks)


def _adapted_roles(config: ExperimentConfig, loaded: LoadedModel) -> frozenset[str]:
    """Which projections get an adapter."""
    switches, adapter = config.switches, config.model.adapter
    if switches.adapt_all_linears:
        return frozenset(p.role for s in loaded.model_map.sub_blocks for p in s.projections)
    has_ffn = adapter.apply_to_ffn
    if has_ffn is None:
        has_ffn = loaded.model_map.spec.adapts_ffn
    ffn = adapter.ffn_components if switches.ffn_adapters and has_ffn else ()
    return frozenset((*adapter.mha_components, *ffn))


def build_floors(config: ExperimentConfig) -> Floors:
    """What must stay, whatever an arm prunes by."""
    pruning = config.pruning
    return Floors(
        min_heads=pruning.min_heads,
        min_neurons=pruning.min_neurons,
        min_hidden=pruning.min_hidden,
        round_to=pruning.round_to,
    )


def phase_of(plan: TrainingPlan, step: int) -> str:
    """Name of the phase that a finished step belongs to."""
    prune = plan.prune
    if not prune.event_steps or step < prune.event_steps[0] - prune.window:
        return "tuning"
    if step <= prune.event_steps[-1]:
        return "pruning"
    return "distilling" if step <= plan.distill_stop else "retraining"


def engine_factory(
    config: ExperimentConfig,
    loaded: LoadedModel,
    device: torch.device,
    rates: Mapping[str, float] | None = None,
) -> EngineFactory:
    """Wraps modules in the engine that the configuration names; `rates` has further factors."""
    training, hardware = config.training, config.hardware
    multipliers = dict(rates or {})
    if training.head_learning_rate is not None:
        ratio = training.head_learning_rate / training.learning_rate
        multipliers |= {f"{STUDENT}{head}.*": ratio for head in loaded.model_map.head}
    settings = OptimizerSettings(
        weight_decay=training.weight_decay,
        betas=training.betas,
        eps=training.eps,
        max_grad_norm=training.max_grad_norm,
        rate_multipliers=multipliers,
    )
    num_micro_batches = training.batch_size // (hardware.num_workers * config.micro_batch_size)
    options: dict[str, Any] = {
        "settings": settings,
        "device": device,
        "precision": hardware.precision,
        "accumulation_steps": num_micro_batches,
    }

    def make_engine(module: nn.Module, snapshot: OptimizerSnapshot | None) -> Engine:
        if hardware.engine == "torch":
            return TorchEngine(module, snapshot, **options)
        # Importing deepspeed takes seconds: only when it is asked for.
        from apt_core.trainer.deepspeed_engine import DeepSpeedEngine

        return DeepSpeedEngine(module, snapshot, zero_stage=hardware.zero_stage, **options)

    return make_engine

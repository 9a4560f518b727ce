"""The dictionary that DeepSpeed reads; every default that would surprise is set."""

from typing import Any

from apt_core.trainer.engine import Precision

MAX_BUCKET = 50_000_000
"""Elements of the reduction buffers, which DeepSpeed allocates whole however small the model."""


def deepspeed_config(
    *,
    zero_stage: int,
    precision: Precision,
    accumulation_steps: int,
    max_grad_norm: float,
    num_trainable: int,
    persistence_threshold: int,
) -> dict[str, Any]:
    """Translate the engine's arguments.

    Args:
        zero_stage: 0 to 3.
        precision: Dtype of forward and backward.
        accumulation_steps: Micro-batches per update.
        max_grad_norm: 0 turns clipping off (left out, DeepSpeed would clip at 1).
        num_trainable: Trainable elements: bounds the reduction buffers.
        persistence_threshold: ZeRO 3 leaves smaller parameters whole on every worker.

    Returns:
        DeepSpeed's configuration.
    """
    zero = {
        "stage": zero_stage,
        "overlap_comm": False,
        "reduce_bucket_size": min(num_trainable + num_trainable % 2, MAX_BUCKET),
        "stage3_param_persistence_threshold": persistence_threshold,
    }
    plain = zero_stage == 0 and precision == "fp32"  # there the engine clips by itself
    return {
        "train_micro_batch_size_per_gpu": 1,  # only a label: batches are ours
        "gradient_accumulation_steps": accumulation_steps,
        "gradient_clipping": 0.0 if plain else max_grad_norm,
        "zero_optimization": zero,
        "bf16": {"enabled": precision == "bf16"},
        "fp16": {"enabled": precision == "fp16", "loss_scale": 0, "initial_scale_power": 16},
        "steps_per_print": None,
    }


def worthwhile_stage(zero_stage: int, num_workers: int) -> int:
    """The stage that does the same for less work.

    Stage 2 reduces all gradients after every micro-batch, to keep a share of them only. A single
    worker keeps all of them anyway: as stage 1 it handles them once per step.

    Args:
        zero_stage: 0 to 3, as configured.
        num_workers: Workers that train together.

    Returns:
        1 instead of 2 for a single worker.
    """
    return 1 if zero_stage == 2 and num_workers == 1 else zero_stage  # noqa: PLR2004

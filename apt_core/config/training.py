"""Section `training`: the optimisation of one run."""

from typing import Annotated, Literal

from pydantic import Field

from apt_core.config.base import (
    FractionBelowOne,
    Listed,
    NonNegative,
    Positive,
    PositiveCount,
    Section,
)
from apt_core.config.duration import Duration, PositiveDuration


class TrainingConfig(Section):
    """Optimizer, length and rhythm of one run."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1
    """Seed of everything random: initialisation, data order, dropout, sampled teacher layers."""
    batch_size: PositiveCount = 32
    """Examples per optimizer step, over all workers and micro-batches together."""
    micro_batch_size: PositiveCount | None = None
    """Examples per forward pass and worker; null: `batch_size` / `hardware.num_workers`. Lower it
    to save memory."""
    num_epochs: Positive | None = 40.0
    """Passes over the training rows; the paper: 40 for GLUE."""
    max_steps: PositiveCount | None = None
    """Optimizer steps; wins over `num_epochs` when set."""
    learning_rate: Positive = 2e-4
    """Peak learning rate. Adapters: 2e-4; full fine-tuning: 2e-5."""
    head_learning_rate: Positive | None = None
    """Peak learning rate of the task head; null: `learning_rate`."""
    train_head: bool = True
    """Whether the task head learns beside the adapters; full fine-tuning always trains it. The
    authors left a fresh head at its random start."""
    freeze_embeddings: bool = False
    """Whether full fine-tuning leaves the embedding tables as they are (and what is tied to them),
    as the authors did. Adapters never train them."""
    warmup: Duration = Duration(6, "%")
    """Steps in which the learning rate rises from 0 to its peak."""
    lr_schedule: Literal["linear", "constant"] = "linear"
    """What follows the warm-up: `linear` falls to 0 at the last step, `constant` stays at the
    peak."""
    lr_after_event: Literal["schedule", "peak"] = "schedule"
    """Learning rate from the first event on: `schedule` goes on as before; `peak` stays at the peak
    until the teacher leaves, then falls from a tenth of it to 0, as in the authors' code, whose
    schedule was bound to an optimizer that an event throws away."""
    optimizer: Literal["adamw"] = "adamw"
    """Optimizer."""
    weight_decay: NonNegative = 0.1
    """AdamW weight decay (biases and norms excluded)."""
    betas: Annotated[tuple[FractionBelowOne, FractionBelowOne], Listed] = (0.9, 0.999)
    """AdamW's two decay rates."""
    eps: Positive = 1e-8
    """AdamW's epsilon."""
    max_grad_norm: Positive = 1.0
    """Global gradient norm to clip to."""
    initial_rank: PositiveCount = 8
    """Rank of every adapter at step 0."""
    scaling_factor: Positive = 2.0
    """s in W + s * B A; stays fixed while ranks grow."""
    momentum_salience: FractionBelowOne = 0.85
    """Weight of the past in the moving average of salience, per step."""
    optimizer_on_surgery: Literal["carry", "reset"] = "carry"
    """Adam moments when shapes change: `carry` keeps those of surviving slices, `reset` drops all
    (as in the paper)."""
    eval_every: PositiveDuration = Duration(5, "%")
    """Time between evaluations."""
    choose_best: bool = False
    """Keep the weights that scored best on the held-out rows (`data.holdout_rows`), among
    evaluations at the final shape, instead of the last ones."""
    save_every: PositiveDuration = Duration(10, "%")
    """Time between checkpoints: what a killed run loses at most."""
    log_every: PositiveDuration = Duration(20, "steps")
    """Time between lines of the metric log."""
    keep_checkpoints: PositiveCount = 2
    """Newest checkpoints to keep on disk."""

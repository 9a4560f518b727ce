"""Sections `pruning`, `tuning`, `distillation`: the three parts of APT."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from apt_core.config.base import (
    Count,
    Fraction,
    FractionBelowOne,
    NonNegative,
    Positive,
    PositiveCount,
    Section,
    Text,
    expand_path,
)
from apt_core.config.duration import Duration, PositiveDuration

DEFAULT_NUM_EVENTS = 10
RANK_CAP_FACTOR = 8


class PruningConfig(Section):
    """What is removed, and when."""

    target_sparsity: FractionBelowOne = 0.6
    """Fraction of the encoder/decoder layers' cost to remove, by default of their parameters
    (embeddings, heads, adapters not counted); 1 - density."""
    constraint: Literal["params", "macs", "latency_ms"] = "params"
    """What cost is: parameters; multiply-accumulates at a reference length; or milliseconds,
    measured once before training, sub-block by sub-block, on the device that trains."""
    constraint_length: PositiveCount | None = None
    """Tokens per row for `macs` and `latency_ms`; null: `data.max_length`. A decoder beside an
    encoder writes `data.max_target_length`."""
    latency_batch_size: PositiveCount = 32
    """Rows per batch for `latency_ms`."""
    scheduler: Literal["cubic"] = "cubic"
    """Shape of the density curve between `start` and `stop`."""
    use_kurtosis: bool | None = None
    """Whether salience counts outlier channels (kurtosis term); null: on for LLaMA-like models, off
    for the others."""
    kurtosis_weight: NonNegative = 1.0
    """Factor on the kurtosis term."""
    update_frequency: PositiveDuration | None = None
    """Time between two prunings; null: `num_events` of them, evenly spread. Set one of the two."""
    num_events: PositiveCount | None = None
    """Number of prunings and rank growths between `start` and `stop`; null: 10, unless
    `update_frequency` is set."""
    start: Duration = Duration(200, "steps")
    """When salience collection and the density curve begin; plain tuning before."""
    warmup: Duration = Duration(0, "steps")
    """Time after `start` in which ranks may grow but nothing is pruned. With L0 gates: in which the
    sparsity that is asked for rises from 0 to `target_sparsity`; 60% of the time from `start` to
    `stop` is a good choice, as in less the gates overshoot."""
    stop: Duration = Duration(3, "epochs")
    """When the target sparsity is reached. The paper: 3 epochs for large GLUE tasks, 24 for small
    ones."""
    window: Duration = Duration(200, "steps")
    """Time before each pruning in which the masks of doomed blocks decay from 1 to 0."""
    mask_step: Annotated[float, Field(gt=0, le=1)] = 0.01
    """How much a mask falls (or recovers) per step in a window; `window` * `mask_step` must be at
    least 1."""
    min_heads: Count = 0
    """Heads that every layer keeps; 0: a layer may lose its attention."""
    min_neurons: Count = 0
    """Feed-forward neurons that every layer keeps; 0: a layer may lose its feed-forward part."""
    min_hidden: PositiveCount = 8
    """Hidden dimensions that the model keeps."""
    round_to: PositiveCount = 1
    """Kept widths (neurons, attention channels, hidden size) become multiples of this: on a GPU, 8
    or more. What is cut is then a little more than `target_sparsity`."""
    pre_tuning_sparsity: FractionBelowOne = 0.0
    """Sparsity reached in one shot before the first step, from calibration batches; 0: none. The
    paper prunes LLaMA this way: set it to `target_sparsity`."""
    calibration_batches: PositiveCount = 128
    """Training batches that one-shot pruning looks at. The paper: 64 of 32 for mask tuning."""
    calibration_batch_size: PositiveCount = 2
    """Examples in each of them."""
    rescale: bool | None = None
    """Whether mask tuning gives the heads and neurons that stay factors by least squares, from at
    most 8 of the calibration batches; null: in encoders only, as the paper."""
    gate_learning_rate: Positive | None = None
    """Learning rate of L0 gates at its peak; null: 0.01, or more where the time from `start` to
    `stop` is short, so that gates can still open and close in it."""
    gate_drop_rate: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """How far L0 gates are closed at first; near 0: all open."""
    protect_first_layers: Count | None = None
    """First layers that arm `llm_pruner` leaves whole; null: an eighth of all (4 of 32),
    rounded."""
    protect_last_layers: Count | None = None
    """Last layers that arm `llm_pruner` leaves whole; null: a sixteenth of all (2 of 32),
    rounded."""

    @property
    def event_count(self) -> int | None:
        """Number of events, or None when `update_frequency` decides it."""
        if self.update_frequency is not None:
            return None
        return DEFAULT_NUM_EVENTS if self.num_events is None else self.num_events


class TuningConfig(Section):
    """How adapters grow."""

    max_tuning_params_ratio: Annotated[float, Field(ge=1)] = 4.0
    """Trainable adapter parameters at the last event, relative to the start."""
    rank_increase_strategy: Literal["top_half", "uniform"] = "top_half"
    """Which adapters grow: the most important half, or all alike (an ablation)."""
    growth: Literal["fill", "ratio"] = "fill"
    """`fill`: the growing adapters take the whole increase of the budget; `ratio`: each grows by
    the budget's ratio."""
    max_rank: PositiveCount | None = None
    """Highest rank of an adapter; null: 8 * `training.initial_rank`."""
    importance: Literal["paper", "signed"] = "paper"
    """Score of an adapter: `paper` sums |B * dL/dB|; `signed` averages |sum A * dL/dA| over ranks,
    as the authors ran."""
    init_distribution: Literal["gaussian", "uniform"] = "gaussian"
    """Distribution of new rows of A, at the same standard deviation: `gaussian` as in the paper;
    `uniform` as in the authors' code."""
    init_std: Positive | None = None
    """Standard deviation of new rows of A; null: 1 / sqrt(3 * in_features)."""

    def rank_cap(self, initial_rank: int) -> int:
        """Highest rank of an adapter."""
        return RANK_CAP_FACTOR * initial_rank if self.max_rank is None else self.max_rank


class DistillationConfig(Section):
    """How the student learns from its own past."""

    teacher_layer_mapping: Literal["closest_alive", "min_mse"] = "closest_alive"
    """Student layer for a teacher layer: the nearest one that is left, or the one with the least
    error."""
    num_teacher_layers: PositiveCount = 4
    """Teacher layers sampled per step, one from each of so many equal blocks of layers."""
    distill_loss_weight_start: Fraction = 0.0
    """mu at `pruning.start`: the weight of distillation against the task loss."""
    distill_loss_weight_end: Fraction = 1.0
    """mu at `pruning.stop` and after; between them it follows a straight line."""
    temperature: Positive = 2 / 3
    """Softmax temperature of the prediction loss."""
    prediction_weight: NonNegative = 1.0
    """Weight of the prediction loss inside the distillation loss. The paper: 1 for GLUE, 0.1 for
    SQuAD and CNN/DM."""
    layer_weight: NonNegative = 0.9
    """Weight of the hidden-state loss inside the distillation loss."""
    projection_rank: PositiveCount = 8
    """Rank of the trained part of the projection from student to teacher hidden states."""
    mask_padding: bool = False
    """Whether the hidden-state loss leaves padding out: a mean over the real tokens of every row,
    then over rows. The authors count padding; the loss then depends on micro-batches and workers,
    because each pads to its own longest row."""
    refresh_teacher: bool = False
    """Whether the present student becomes the teacher when a decay window opens, if it scores
    better on the held-out rows (`data.holdout_rows`) than the teacher did; otherwise the first
    teacher stays."""
    start_event: Count = 0
    """0: the first teacher is taken, and listened to, when the first window opens. k: it is taken
    when the window of the k-th pruning event opens, and listened to from that event on. The authors
    meant 1, and their code ran 2. mu does not wait."""
    teacher_path: Text | None = None
    """Who teaches in the ablations `ft_teacher` and `lora_teacher`: the `export` folder of a
    finished run of that arm (may contain ${ENV}); null: in a sweep, the run of the same model,
    dataset and seed. Its training time is charged to the run that it teaches."""
    stop: Duration = Duration(50, "%")
    """When distillation ends and plain tuning of the pruned model begins; at or after
    `pruning.stop`."""

    @property
    def expanded_teacher_path(self) -> Path | None:
        """Where the teacher is, ${ENV} and ~ replaced; None: not told."""
        if self.teacher_path is None:
            return None
        return expand_path(self.teacher_path, "distillation.teacher_path")

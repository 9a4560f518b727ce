"""What a run measures, as frozen values that turn into JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

RESULT_FORMAT = 1
PARAMETERS = "parameters"
SALIENCE_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
"""Which quantiles of the blocks' salience densities a surgery records."""


@dataclass(frozen=True)
class StepMetrics:
    """One line of a run's metric log; flat names such as ``train/loss`` or ``eval/accuracy``."""

    step: int
    time_ms: int
    """Wall clock since the epoch, in ms, at the moment of measuring: replays keep it."""
    values: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary: one line of ``metrics.jsonl``."""
        return asdict(self)


@dataclass(frozen=True)
class EvalPoint:
    """One evaluation during training: the raw material of time-to-accuracy."""

    step: int
    train_time_s: float
    """Training time so far, evaluations and checkpoints excluded; survives restarts."""
    eval_time_s: float
    """Time spent in evaluations so far."""
    metric: float
    sparsity: float


@dataclass(frozen=True)
class InferencePoint:
    """Latency and throughput of the merged, sliced model at one batch size."""

    batch_size: int
    latency_ms: float
    """Median over repeats, real batches, after warm-up."""
    throughput_samples_per_s: float
    peak_memory_gib: float
    """Weights and the most that a forward pass adds; the unpruned model beside it left out."""
    dense_latency_ms: float
    """The unpruned model, measured in the same process, interleaved with the pruned one."""

    generated_tokens_per_s: float | None = None
    """New tokens of all rows per second, with the key/value cache; generative heads only."""
    dense_generated_tokens_per_s: float | None = None
    """The same of the unpruned model, on the same prompts in turns."""

    @property
    def speedup(self) -> float:
        """Dense latency over this model's latency, measured side by side."""
        return self.dense_latency_ms / self.latency_ms


@dataclass(frozen=True)
class Efficiency:
    """What the model costs."""

    num_layer_params: int
    """Encoder/decoder-layer parameters left (what sparsity counts)."""
    num_total_params: int
    """All parameters of the merged model, embeddings and head included."""
    num_trainable_params_peak: int
    macs_per_sample: int
    """Multiply-accumulates of one forward pass at the evaluation set's mean length."""
    peak_train_memory_gib: float
    inference: tuple[InferencePoint, ...] = ()


@dataclass(frozen=True)
class RunReport:
    """The last word on one finished run; stored as ``result.json``."""

    run_id: str
    name: str
    arm: str
    ablation: str
    model: str
    dataset: str
    seed: int
    target_sparsity: float
    sparsity: float
    """Reached sparsity: fraction of layer parameters removed."""
    metric_name: str
    metric: float
    """Final value of the task's main metric on the evaluation split."""
    metrics: Mapping[str, float]
    total_steps: int
    train_time_s: float
    eval_time_s: float
    efficiency: Efficiency
    history: tuple[EvalPoint, ...] = ()
    surgeries: tuple[Mapping[str, Any], ...] = ()
    """One entry per surgery: step, sparsity, hidden_size, heads and neurons per layer, ranks,
    seconds; the shape before, and where salience decided, what stood at the border.
    """
    structure: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    """Versions, device, precision, engine, zero stage, worker count."""
    command: str = ""
    """The command that reruns exactly this run."""
    warnings: tuple[str, ...] = ()
    held_out_metric: float | None = None
    """The main metric of the reported weights on the held-out rows, where the best are kept."""
    teacher_run_id: str | None = None
    """The run whose model taught this one from its first step, where one did."""
    teacher_time_s: float = 0.0
    """What training that teacher took; not part of `train_time_s`, but charged to this run."""
    step_time_s: Mapping[str, float] = field(default_factory=dict)
    """Median seconds per step by phase: ``tuning``, ``pruning``, ``distilling``, ``retraining``."""
    peak_memory_by_phase_gib: Mapping[str, float] = field(default_factory=dict)
    """Peak training memory by phase, in GiB; phases named as in `step_time_s`."""
    cost_unit: str = PARAMETERS
    """What the target counts: parameters, MACs or ms of the layers."""
    cost: float | None = None
    """What the layers that are left cost in this unit."""
    dense_cost: float | None = None
    """The same of all layers."""
    format: int = RESULT_FORMAT

    @property
    def density(self) -> float:
        """1 - sparsity."""
        return 1.0 - self.sparsity

    @property
    def cost_sparsity(self) -> float:
        """Fraction of the layers' cost removed: what `target_sparsity` aims at."""
        if self.cost_unit == PARAMETERS or self.cost is None or not self.dense_cost:
            return self.sparsity
        return 1.0 - self.cost / self.dense_cost

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary for ``result.json``."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "RunReport":
        """The inverse of `to_json`."""
        fields = dict(data)
        efficiency = dict(fields["efficiency"])
        efficiency["inference"] = tuple(InferencePoint(**p) for p in efficiency["inference"])
        fields["efficiency"] = Efficiency(**efficiency)
        fields["history"] = tuple(EvalPoint(**p) for p in fields["history"])
        fields["surgeries"] = tuple(fields["surgeries"])
        fields["warnings"] = tuple(fields["warnings"])
        return cls(**fields)

    @classmethod
    def load(cls, path: Path) -> "RunReport":
        """Read a ``result.json``."""
        return cls.from_json(json.loads(path.read_text(encoding="utf-8")))

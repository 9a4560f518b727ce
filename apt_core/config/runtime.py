"""Sections `evaluation`, `hardware`, `orchestration`, `tracking`: measuring and running."""

import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from apt_core.config.arms import Ablation, Arm
from apt_core.config.base import (
    Count,
    FractionBelowOne,
    Listed,
    NonNegative,
    Positive,
    PositiveCount,
    Section,
    Text,
    expand_env,
    expand_path,
)
from apt_core.config.problems import Problem
from apt_core.config.task_kinds import (
    ClassificationMetric,
    InstructionMetric,
    QaMetric,
    RegressionMetric,
    SummarizationMetric,
)
from apt_core.errors import ConfigError


def _as_tuple(value: Any) -> Any:
    if value is None:
        return None
    return tuple(value) if isinstance(value, list | tuple) else (value,)


_Axis = BeforeValidator(_as_tuple)
_AnySeed = Annotated[int, Field(ge=0, lt=2**32)]


class MetricNames(Section):
    """Main metric of each kind of task."""

    classification: ClassificationMetric = "accuracy"
    """Metric for classification."""
    regression: RegressionMetric = "pearson_spearman"
    """Metric for regression; `pearson_spearman` is the mean of the two correlations."""
    qa: QaMetric = "f1"
    """Metric for question answering."""
    summarization: SummarizationMetric = "rouge"
    """Metric for summarization; `rouge` is the mean of the three."""
    instruction: InstructionMetric = "lm_eval"
    """Metric for instruction following."""


class GenerationConfig(Section):
    """How models with a generative head write when they are evaluated; never sampled."""

    num_beams: PositiveCount = 1
    """Beams of the search; 1: greedy."""
    max_new_tokens: PositiveCount | None = None
    """Tokens written at most; null: `data.max_target_length`."""
    length_penalty: float = 1.0
    """Exponent of the length by which a beam's score is divided: higher means longer texts. For
    several beams only."""
    no_repeat_ngram_size: Count = 0
    """No sequence of so many tokens is written twice; 0: no such rule."""
    always: bool = False
    """Whether text is written and scored too where the main metric does not need it."""


def _lm_eval_tasks() -> dict[str, int]:
    return {"arc_challenge": 25, "hellaswag": 10, "mmlu": 5, "truthfulqa_mc2": 0}


class LmEvalConfig(Section):
    """The benchmarks of EleutherAI's lm-eval harness; they need the extra `eval`."""

    tasks: dict[str, Count] = Field(default_factory=_lm_eval_tasks, min_length=1)
    """Task of the harness -> solved examples in the prompt."""
    data_dir: Text | None = None
    """Folder with `<dataset>/<split>.parquet` for the four default tasks; may contain ${ENV}; null:
    the harness fetches its datasets from the hub."""
    limit: PositiveCount | None = None
    """Items per task; of one with subtasks (MMLU has 57) an equal share of each, rounded up; null:
    all."""
    batch_size: PositiveCount = 8
    """Sequences per forward pass; changes speed and memory."""

    @property
    def data_path(self) -> Path | None:
        """`data_dir` with ${ENV} and ~ replaced."""
        if self.data_dir is None:
            return None
        return expand_path(self.data_dir, "evaluation.lm_eval.data_dir")


class EvaluationConfig(Section):
    """How quality and efficiency are measured."""

    inference_batch_size: Annotated[tuple[PositiveCount, ...], Listed] = (32, 128)
    """Batch sizes at which latency and throughput are measured."""
    metrics: MetricNames = MetricNames()
    """Main metric of each kind of task."""
    batch_size: PositiveCount = 64
    """Examples per batch in evaluations during training; changes speed and memory, not the
    metric."""
    generation: GenerationConfig = GenerationConfig()
    """How text is generated."""
    null_score_threshold: float = 0.0
    """A question counts as unanswerable where the score of "no answer" exceeds the best span's by
    more than this; ignored where all questions have answers."""
    max_answer_length: PositiveCount = 30
    """Tokens of an answer span at most."""
    lm_eval: LmEvalConfig = LmEvalConfig()
    """Benchmarks of the lm-eval harness."""
    latency_repeats: PositiveCount = 10
    """Timed batches per batch size; the median is reported."""
    latency_warmup: Count = 3
    """Untimed batches before them."""
    measure_efficiency: bool = True
    """Whether latency, throughput and MACs are measured when training is over."""


class HardwareConfig(Section):
    """What one training runs on."""

    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Number format of forward and backward; fp16 needs a GPU."""
    engine: Literal["deepspeed", "torch"] = "deepspeed"
    """What runs the optimizer step; `torch` is plain PyTorch and ignores `zero_stage`."""
    zero_stage: Annotated[int, Field(ge=0, le=3)] = 2
    """DeepSpeed ZeRO: 0 shares nothing between workers, 1 optimizer states, 2 also gradients, 3
    also parameters."""
    num_workers: PositiveCount = 1
    """Processes of one training."""
    gpus_per_worker: NonNegative = 0.0
    """GPUs reserved for each worker; 0: CPU. A share such as 0.5 lets small trials share one."""
    cpus_per_worker: Positive = 1.0
    """CPU cores reserved for each worker."""
    memory_per_worker_gib: Positive | None = None
    """Memory of its node reserved for each worker, in GiB; null: none, and an estimate tells how
    many trials run at a time."""
    num_threads: PositiveCount | None = None
    """PyTorch threads per worker; null: PyTorch's choice."""
    collective_timeout_s: PositiveCount = 1800
    """Seconds that the workers of one training wait for each other before they count as hung; the
    trial then goes on from its last checkpoint. Longer than what one worker does alone: benchmarks
    of lm-eval, measuring at the end."""
    gradient_checkpointing: bool = False
    """Recompute every layer in the backward pass instead of keeping its activations: less memory,
    about a third more time."""


class GridBlock(Section):
    """A block of trials: every combination of the lists given; one value is a list of one."""

    arm: Annotated[tuple[Arm, ...] | None, _Axis] = None
    """Values of `arm`."""
    ablation: Annotated[tuple[Ablation, ...] | None, _Axis] = None
    """Values of `ablation`."""
    sparsity: Annotated[tuple[FractionBelowOne, ...] | None, _Axis] = None
    """Values of `pruning.target_sparsity`."""
    model: Annotated[tuple[Text, ...] | None, _Axis] = None
    """Values of `model.model_type`."""
    dataset: Annotated[tuple[Text, ...] | None, _Axis] = None
    """Values of `data.dataset`."""
    seed: Annotated[tuple[_AnySeed, ...] | None, _Axis] = None
    """Values of `training.seed`."""
    set: dict[str, Any] = Field(default_factory=dict)
    """Dotted field path -> value, for every trial of this block."""
    search: dict[str, Annotated[tuple[Any, ...], Field(strict=False, min_length=1)]] = Field(
        default_factory=dict
    )
    """Dotted field path -> values to try, for every trial of this block. The report shows the
    values that do best on the held-out rows. All blocks must try equally often, and
    `training.choose_best` must be on."""

    @property
    def num_tries(self) -> int:
        """How many trainings stand behind one trial of this block."""
        return math.prod(len(values) for values in self.search.values())


class OrchestrationConfig(Section):
    """The sweep and the Ray cluster."""

    results_dir: Text = "runs"
    """Folder for everything a run writes; may contain ${ENV}. On a cluster: storage that all nodes
    see as a folder; addresses such as `s3://` are refused."""
    mirror: Text | None = None
    """Address, for fsspec, to which trials are copied while they run: after every checkpoint and at
    their end, by the sweep's driver. A sweep that finds its folder gone goes on from there. May
    contain ${ENV}, but no password."""
    address: str | None = None
    """Ray cluster to use; null: the one this machine belongs to, else a new local one."""
    max_concurrent_trials: PositiveCount | None = None
    """Trials at a time at most; null: as many as the nodes' CPUs, GPUs and memory hold."""
    max_failures: Count = 1
    """How often a trial is restarted from its last checkpoint before it counts as failed."""
    grid: Annotated[tuple[GridBlock, ...], Listed] = ()
    """Blocks of trials of a sweep; empty: the one run that this configuration describes."""
    searched: Annotated[tuple[Text, ...], Listed] = ()
    """Written by a sweep into its trials: the paths of `search`. Leave it alone."""

    @property
    def results_path(self) -> Path:
        """`results_dir` with ${ENV} and ~ replaced; an address is refused."""
        field = "orchestration.results_dir"
        if "://" in expand_env(self.results_dir, field):
            todo = "give a folder that all nodes see"
            raise ConfigError(
                str(Problem(field, "an address, not a folder", todo, self.results_dir))
            )
        return expand_path(self.results_dir, field)

    @property
    def mirror_address(self) -> str | None:
        """`mirror` with ${ENV} replaced."""
        return None if self.mirror is None else expand_env(self.mirror, "orchestration.mirror")


class TrackingConfig(Section):
    """MLflow."""

    enabled: bool = True
    """Whether runs are shown in MLflow; metrics are on disk in any case."""
    uri: str | None = None
    """Tracking server; null: $MLFLOW_TRACKING_URI, else a local server over SQLite in
    `orchestration.results_dir`."""
    experiment: str | None = None
    """MLflow experiment; null: `name`."""

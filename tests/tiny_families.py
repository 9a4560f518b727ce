"""A whole run of any family on any kind of task in a second or two, on generated data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from apt_core.config import ExperimentConfig, load_config
from apt_core.data.loader import DatasetLoader
from apt_core.models.loading import build_model
from apt_core.models.spec import HeadKind
from tests import tiny_tasks
from tests.tiny import SEQ2SEQ, default_head, tiny_config

ENCODERS = ("bert", "roberta", "distilbert")
WRITERS = ("t5", "t5-gated", "llama", "qwen3")
ENCODER_TASKS = ("classification", "regression", "qa")
ALL_TASKS = (*ENCODER_TASKS, "summarization", "instruction")
CASES = (
    *((family, kind) for family in ENCODERS for kind in ENCODER_TASKS),
    *((family, kind) for family in WRITERS for kind in ALL_TASKS),
)
"""(family, kind of task) of everything that makes sense."""
EVENTS = (9, 14)
TEACHER_STEP = 6
DISTILL_STOP = 17
TOTAL_STEPS = 20
ROWS = 48
METRICS: Mapping[str, frozenset[str]] = {
    "classification": frozenset({"accuracy", "f1", "matthews"}),
    "regression": frozenset({"pearson", "spearman", "pearson_spearman"}),
    "qa": frozenset({"exact_match", "f1"}),
    "summarization": frozenset({"rouge1", "rouge2", "rougeL", "rouge"}),
    "instruction": frozenset({"token_accuracy", "exact_match_text", "rouge"}),
}
TEMPLATES = {"bert": "bert", "roberta": "roberta", "distilbert": "roberta"}


def head_of(family: str, kind: str) -> HeadKind:
    """The head with which a family solves a kind of task."""
    is_span = family in ENCODERS and kind == "qa"
    return "question_answering" if is_span else default_head(family)


def tokenizer_of(family: str) -> Any:
    """The tokenizer that `write_model` saves beside a family's model."""
    writer = "t5" if family in SEQ2SEQ else "llama"
    return tiny_tasks.tokenizer(TEMPLATES.get(family, writer))


def write_model(folder: Path, family: str, kind: str, *, dropout: float = 0.1) -> Path:
    """A random model whose outputs depend on its input, with its tokenizer."""
    tokenizer = tokenizer_of(family)
    config = tiny_config(family, dropout=dropout)
    config.vocab_size = len(tokenizer)
    config.pad_token_id = tokenizer.pad_token_id
    config.max_position_embeddings = 80
    if family not in ENCODERS:
        config.eos_token_id = tokenizer.eos_token_id
        config.decoder_start_token_id = tokenizer.pad_token_id
    if family in ENCODERS and kind == "qa":
        config.num_labels = 2
    if kind == "regression":
        config.num_labels = 1
    if kind == "classification":
        config.num_labels = 2
    noise = 0.3 if family in ENCODERS else 0.1
    torch.manual_seed(0)
    model = build_model(config, head_of(family, kind)).model
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(noise * torch.randn_like(parameter))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def family_experiment(
    root: Path, family: str, kind: str, *overrides: str, dropout: float = 0.1
) -> ExperimentConfig:
    """20 steps: teacher at 6, events at 9 and 14, teacher dropped at 17; from dense to half."""
    model, data = root / f"{family}-{kind}", root / f"data-{kind}"
    if not model.exists():
        write_model(model, family, kind, dropout=dropout)
    if not data.exists():
        tiny_tasks.write_task(data, kind, rows=ROWS, eval_rows=9)
    columns = ", ".join(tiny_tasks.COLUMNS.get(kind, ("text",)))
    entry = "data.datasets.tiny"
    settings = [
        "model.model_type=tiny",
        f"model.architectures.tiny={model}",
        "data.dataset=tiny",
        f"{entry}.path={data}",
        f"{entry}.task={kind}",
        f"{entry}.text_columns=[{columns}]",
        *([f"{entry}.labels=['no', 'yes']"] if kind == "classification" else []),
        "data.max_length=64",
        "data.max_target_length=8",
        "data.doc_stride=4",
        f"data.cache_dir={root / 'cache'}",
        "data.bucket_batches=1",
        f"training.max_steps={TOTAL_STEPS}",
        "training.batch_size=8",
        "training.learning_rate=0.003",
        "training.initial_rank=2",
        f"training.eval_every={TOTAL_STEPS} steps",
        f"training.save_every={TOTAL_STEPS} steps",
        "training.log_every=1 steps",
        "pruning.target_sparsity=0.5",
        "pruning.start=4",
        f"pruning.stop={EVENTS[-1]}",
        f"pruning.num_events={len(EVENTS)}",
        "pruning.window=4",
        "pruning.mask_step=0.25",
        "pruning.min_hidden=4",
        f"distillation.stop={DISTILL_STOP}",
        "hardware.engine=torch",
        "evaluation.measure_efficiency=false",
        "evaluation.metrics.instruction=rouge",
        "tracking.enabled=false",
        *overrides,
    ]
    return load_config([], settings)


def loader_of(config: ExperimentConfig, family: str, kind: str, **changes: Any) -> DatasetLoader:
    """A loader of the same data, apart from the trainer's."""
    from apt_core.data.tasks import TaskSpec

    arguments: dict[str, Any] = {
        "max_length": config.data.max_length,
        "max_target_length": config.data.max_target_length,
        "doc_stride": config.data.doc_stride,
        "bucket_batches": 1,
        "seed": 1,
        "batch_size": config.training.batch_size,
        "eval_batch_size": 64,
        "cache_dir": config.data.cache_path,
        "head": head_of(family, kind),
    }
    task = TaskSpec.of("tiny", config.data.spec)
    return DatasetLoader(task, tokenizer_of(family), **{**arguments, **changes})

"""A whole run in a second or two: a tiny model, a tiny dataset, and their configuration."""

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from apt_core.config import ExperimentConfig, load_config
from apt_core.models.loading import build_model
from tests.tiny import tiny_config

GOOD = ("good", "great", "fine", "lovely")
BAD = ("bad", "awful", "poor", "nasty")
OTHER = ("the", "film", "was", "very", "a", "story", "and", "of", "plot")
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
EVENTS = (12, 18, 24)
TEACHER_STEP = 7
DISTILL_STOP = 30
TOTAL_STEPS = 36


def write_model(folder: Path, *, dropout: float = 0.1) -> Path:
    """A tiny RoBERTa of 4 layers with a word-level tokenizer."""
    vocabulary = {word: i for i, word in enumerate((*SPECIAL, *GOOD, *BAD, *OTHER))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
    )
    torch.manual_seed(0)
    config = tiny_config("roberta", dropout=dropout, num_layers=4)
    config.num_labels = 2
    build_model(config).model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def write_dataset(folder: Path, *, rows: int = 96) -> Path:
    """Sentences whose label is the polarity of their only polar word."""
    folder.mkdir(parents=True, exist_ok=True)
    words = random.Random(0)
    for split, count in (("train", rows), ("validation", 24)):
        labels = [i % 2 for i in range(count)]
        sentences = []
        for label in labels:
            text = words.choices(OTHER, k=words.randint(2, 8))
            text.insert(words.randrange(len(text)), words.choice(GOOD if label else BAD))
            sentences.append(" ".join(text))
        table = pa.table({"sentence": sentences, "label": labels})
        pq.write_table(table, folder / f"{split}.parquet")
    return folder


def tiny_experiment(root: Path, *overrides: str, dropout: float = 0.1) -> ExperimentConfig:
    """A run of 36 steps: teacher at 7, events at 12, 18 and 24, teacher dropped at 30."""
    model, data = root / "model", root / "data"
    if not model.exists():
        write_model(model, dropout=dropout)
        write_dataset(data)
    settings = [
        "model.model_type=tiny",
        f"model.architectures.tiny={model}",
        "data.dataset=tiny",
        f"data.datasets.tiny.path={data}",
        "data.datasets.tiny.text_columns=[sentence]",
        "data.datasets.tiny.labels=[bad, good]",
        "data.max_length=16",
        f"data.cache_dir={root / 'cache'}",
        # Too few rows to sort: every batch would hold one length.
        "data.bucket_batches=1",
        f"training.max_steps={TOTAL_STEPS}",
        "training.batch_size=8",
        "training.learning_rate=0.003",
        "training.initial_rank=2",
        "training.eval_every=12 steps",
        "training.save_every=6 steps",
        "training.log_every=1 steps",
        "pruning.target_sparsity=0.5",
        "pruning.start=6",
        f"pruning.stop={EVENTS[-1]}",
        "pruning.num_events=3",
        "pruning.window=6",
        "pruning.mask_step=0.25",
        "pruning.min_hidden=4",
        f"distillation.stop={DISTILL_STOP}",
        "hardware.engine=torch",
        "evaluation.measure_efficiency=false",
        "tracking.enabled=false",
        *overrides,
    ]
    return load_config([], settings)

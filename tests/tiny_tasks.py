"""Tiny datasets and word-level tokenizers for every kind of task and head."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from apt_core.data.loader import DatasetLoader
from apt_core.data.tasks import TaskSpec

WORDS = tuple(f"w{number}" for number in range(60))
TEMPLATE_WORDS = (
    "question", "context", ":", "summarize", "unanswerable", "Instruction", "Input", "Response",
    "###", "\n", "tiny", "text", "other", "yes", "no", ".",
)  # fmt: skip
NUMBERS = tuple(f"{whole}.{tenth}" for whole in range(6) for tenth in range(10))
TEMPLATES = {
    "bert": ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1"),
    "roberta": ("[CLS] $A [SEP]", "[CLS] $A [SEP] [SEP] $B [SEP]"),
    "t5": ("$A </s>", "$A </s> $B </s>"),
    "llama": ("<s> $A", "<s> $A $B"),
    "gpt2": ("$A", "$A $B"),
}
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "<s>", "</s>")


def tokenizer(family: str) -> PreTrainedTokenizerFast:
    """A tokenizer of words, with the special tokens of a family around them."""
    ids = {word: i for i, word in enumerate((*SPECIAL, *TEMPLATE_WORDS, *WORDS, *NUMBERS))}
    backend = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    words = pre_tokenizers.Split(Regex(r"\d\.\d|\w+|\n|#+|[^\w\s]"), "isolated")
    blanks = pre_tokenizers.Split(Regex(" +"), "removed")
    backend.pre_tokenizer = pre_tokenizers.Sequence([words, blanks])
    single, pair = TEMPLATES[family]
    backend.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[(word, ids[word]) for word in SPECIAL[2:]]
    )
    is_bert = family == "bert"
    names = ["input_ids", *(["token_type_ids"] if is_bert else []), "attention_mask"]
    is_encoder = family in ("bert", "roberta")
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token="[UNK]",
        pad_token=None if family == "gpt2" else "[PAD]",
        eos_token=None if is_encoder else "</s>",
        model_input_names=names,
    )


def write_split(folder: Path, split: str, rows: list[dict[str, Any]]) -> Path:
    """One split as a Parquet file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{split}.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def text(start: int, count: int) -> str:
    """So many words, from a place in the language on."""
    return " ".join(WORDS[(start + i) % len(WORDS)] for i in range(count))


def answers(context: str, *found: str) -> dict[str, list[Any]]:
    """Answers at the places where they first occur."""
    return {"text": list(found), "answer_start": [context.index(answer) for answer in found]}


def qa_row(number: int) -> dict[str, Any]:
    """A question of two words and a context of 3 to 22; every third has no answer."""
    context = text(number, 3 + 5 * (number % 4) + number % 5)
    words = context.split()
    found = [" ".join(words[number % len(words) :][:2])] if number % 3 else []
    return {
        "question": f"{WORDS[number]} {WORDS[number + 1]}",
        "context": context,
        "answers": answers(context, *found),
    }


def row(kind: str, number: int) -> dict[str, Any]:
    """A row of a task; its length and its target depend on its number."""
    if kind == "qa":
        return qa_row(number)
    if kind == "summarization":
        return {"text": text(number, 4 + number % 9), "summary": text(number, 1 + number % 4)}
    if kind == "instruction":
        given = text(number + 3, number % 4)
        return {"text": text(number, 2), "other": given, "output": text(number, 1 + number % 5)}
    label = number % 2 if kind == "classification" else number % 51 / 10
    return {"text": text(number, 1 + number % 7), "label": label}


COLUMNS = {
    "qa": ("question", "context"),
    "instruction": ("text", "other"),
}


def write_task(folder: Path, kind: str, *, rows: int = 22, eval_rows: int = 7) -> TaskSpec:
    """A dataset of a kind, and its task; evaluation rows are others than training rows."""
    for split, numbers in (("train", range(rows)), ("validation", range(30, 30 + eval_rows))):
        write_split(folder, split, [row(kind, number) for number in numbers])
    labels = ("no", "yes") if kind == "classification" else ()
    columns = COLUMNS.get(kind, ("text",))
    return TaskSpec("tiny", str(folder), columns, labels, kind=kind)


def loader_of(task: TaskSpec, tokens: Any, folder: Path, **changes: Any) -> DatasetLoader:
    """A loader with small batches."""
    arguments: dict[str, Any] = {
        "max_length": 64,
        "max_target_length": 8,
        "doc_stride": 4,
        "seed": 1,
        "batch_size": 4,
        "eval_batch_size": 3,
        "cache_dir": folder / "cache",
    }
    return DatasetLoader(task, tokens, **{**arguments, **changes})

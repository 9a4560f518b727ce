"""From the rows of a split to token ids, for each kind of head."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from apt_core.data.checks import field
from apt_core.data.prompts import SEPARATOR, Prompt, kept_tokens, render, template_of
from apt_core.data.references import target_text, targets_of
from apt_core.data.tasks import TaskSpec
from apt_core.data.tokenized import Ragged, TokenizedSplit
from apt_core.data.vocabulary import check_is_fast, eos_id
from apt_core.data.windows import window_features
from apt_core.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK = 1000
ENCODER_KINDS = {
    "sequence_classification": ("classification", "regression"),
    "question_answering": ("qa",),
}
"""Kinds of task that a head without a decoder can learn; the generative heads learn all."""


@dataclass(frozen=True)
class FeatureSettings:
    """How rows become tokens."""

    max_length: int
    """Tokens of a text, a pair, a window or a prompt."""
    head: str = "sequence_classification"
    """``sequence_classification``, ``question_answering``, ``seq2seq_lm`` or ``causal_lm``."""
    max_target_length: int = 128
    """Tokens of a target, its end included."""
    doc_stride: int = 128
    """Tokens that two windows of a context share."""
    with_spans: bool = False
    """Whether windows come with the places of their tokens, which evaluations need."""

    @property
    def is_generative(self) -> bool:
        """Whether targets are written as text."""
        return self.head in ("seq2seq_lm", "causal_lm")


def make_features(
    table: "pa.Table", task: TaskSpec, tokenizer: Any, settings: FeatureSettings
) -> TokenizedSplit:
    """Tokenise a split that `check_split` let pass.

    Args:
        table: The rows.
        task: The dataset.
        tokenizer: A Hugging Face tokenizer.
        settings: Head and lengths.

    Returns:
        The tokens, in the order of the rows.

    Raises:
        DataError: When the head cannot learn the task, the tokenizer lacks something, or a question
            or a prompt leaves no room.
    """
    kinds = ENCODER_KINDS.get(settings.head)
    if settings.head not in FEATURES or (kinds is not None and task.kind not in kinds):
        raise DataError(
            f"{field(task)}.task: {task.kind} cannot be learned with a {settings.head} head; "
            "choose a model of another family, or another dataset"
        )
    return FEATURES[settings.head](table, task, tokenizer, settings)


def _classification_features(
    table: "pa.Table", task: TaskSpec, tokenizer: Any, settings: FeatureSettings
) -> TokenizedSplit:
    texts = [table[name].to_pylist() for name in task.text_columns]
    rows: dict[str, list[list[int]]] = {}
    for start in range(0, table.num_rows, CHUNK):
        chunk = [column[start : start + CHUNK] for column in texts]
        encoded = tokenizer(*chunk, truncation=True, max_length=settings.max_length)
        for name in ("input_ids", "token_type_ids"):
            if name in encoded:
                rows.setdefault(name, []).extend(encoded[name])
    dtype = np.float32 if task.kind == "regression" else np.int64
    return TokenizedSplit(
        ragged={name: Ragged.of(column) for name, column in rows.items()},
        fixed={"labels": np.array(targets_of(table, task), dtype=dtype)},
    )


def _window_features(
    table: "pa.Table", task: TaskSpec, tokenizer: Any, settings: FeatureSettings
) -> TokenizedSplit:
    return window_features(
        table,
        task,
        tokenizer,
        max_length=settings.max_length,
        doc_stride=settings.doc_stride,
        with_spans=settings.with_spans,
    )


def _seq2seq_features(
    table: "pa.Table", task: TaskSpec, tokenizer: Any, settings: FeatureSettings
) -> TokenizedSplit:
    pairs = list(_prompts_and_targets(table, task, tokenizer, settings))
    return TokenizedSplit(
        ragged={
            "input_ids": Ragged.of([prompt for prompt, _ in pairs]),
            "labels": Ragged.of([target for _, target in pairs]),
        },
        fixed={},
    )


def _causal_features(
    table: "pa.Table", task: TaskSpec, tokenizer: Any, settings: FeatureSettings
) -> TokenizedSplit:
    pairs = list(_prompts_and_targets(table, task, tokenizer, settings))
    return TokenizedSplit(
        ragged={"input_ids": Ragged.of([prompt + target for prompt, target in pairs])},
        fixed={"prompt_tokens": np.array([len(prompt) for prompt, _ in pairs], dtype=np.int64)},
    )


def _prompts_and_targets(
    table: "pa.Table", task: TaskSpec, tokenizer: Any, settings: FeatureSettings
) -> Iterator[tuple[list[int], list[int]]]:
    """Ids of every prompt, as the head reads it, and of every target with its end."""
    check_is_fast(tokenizer)
    end = eos_id(tokenizer)
    targets = targets_of(table, task)
    for start in range(0, table.num_rows, CHUNK):
        chunk = table.slice(start, CHUNK).select(list(task.text_columns)).to_pylist()
        prompts = _prompt_ids(chunk, task, tokenizer, settings)
        texts = [target_text(target, task) for target in targets[start : start + CHUNK]]
        encoded = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        for prompt, target in zip(prompts, encoded, strict=True):
            yield prompt, [*target[: settings.max_target_length - 1], end]


def _prompt_ids(
    rows: list[dict[str, str]], task: TaskSpec, tokenizer: Any, settings: FeatureSettings
) -> Iterator[list[int]]:
    is_causal = settings.head == "causal_lm"
    cut_first = task.text_columns[-1] if task.kind == "qa" else None
    prompts = []
    for row in rows:
        template = template_of(task.kind, task.name, row, task.prompt)
        prompts.append(render(template + SEPARATOR * is_causal, row, cut_first))
    encoded = tokenizer(
        [prompt.text for prompt in prompts], return_offsets_mapping=True, verbose=False
    )
    end = eos_id(tokenizer)
    for prompt, ids, offsets in zip(
        prompts, encoded["input_ids"], encoded["offset_mapping"], strict=True
    ):
        # A model that reads a source expects its end there; one that continues a text must not.
        body = len(ids) - (ids[-1:] == [end] and offsets[-1] == (0, 0))
        tail = [] if is_causal else [end]
        room = settings.max_length - len(tail)
        kept = _kept(prompt, offsets[:body], room, task) if body > room else range(body)
        yield [ids[i] for i in kept] + tail


def _kept(
    prompt: Prompt, offsets: list[tuple[int, int]], max_tokens: int, task: TaskSpec
) -> list[int]:
    kept = kept_tokens(prompt, offsets, max_tokens)
    if kept is None:
        raise DataError(
            f"data.max_length: {max_tokens} tokens are too few for the words of the prompt alone "
            f"(dataset {task.name}); raise it, or set a shorter {field(task)}.prompt"
        )
    return kept


Features = Callable[["pa.Table", TaskSpec, Any, FeatureSettings], TokenizedSplit]
FEATURES: Mapping[str, Features] = MappingProxyType(
    {
        "sequence_classification": _classification_features,
        "question_answering": _window_features,
        "seq2seq_lm": _seq2seq_features,
        "causal_lm": _causal_features,
    }
)
"""Kind of head -> how rows become its tokens."""

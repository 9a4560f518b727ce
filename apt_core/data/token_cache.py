"""Tokenised splits on disk: one file per (content, task, tokenizer, lengths), shared by all."""

import fcntl
import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from apt_core.data.checks import check_split
from apt_core.data.features import FeatureSettings, make_features
from apt_core.data.sources import read_split, split_fingerprint
from apt_core.data.tasks import TaskSpec
from apt_core.data.tokenized import Ragged, TokenizedSplit

FORMAT = 2
"""Raised when the layout of the files changes, or what the same settings make of a row."""
_VALUES, _OFFSETS, _FIXED = "values", "offsets", "fixed"


def load_tokenized(
    task: TaskSpec, split: str, tokenizer: Any, settings: FeatureSettings, cache_dir: Path
) -> TokenizedSplit:
    """Read a tokenised split from the cache, or tokenise it and leave it there.

    Args:
        task: The dataset.
        split: Name of the split.
        tokenizer: A Hugging Face tokenizer.
        settings: Head and lengths.
        cache_dir: Folder that trials and workers share. Of several at once one works, the others
            wait for it.

    Returns:
        The tokenised rows, in the order of the dataset.

    Raises:
        DataError: When the split cannot be read or does not fit task and head.
    """
    key = cache_key(task, split, tokenizer, settings)
    path = cache_dir / "tokens" / f"{key}.npz"
    cached = _read(path)
    if cached is not None:
        return cached
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.with_suffix(".lock")):
        cached = _read(path)
        if cached is not None:
            return cached
        tokenized = tokenize(task, split, tokenizer, settings)
        _write(tokenized, path)
        return tokenized


def cache_key(task: TaskSpec, split: str, tokenizer: Any, settings: FeatureSettings) -> str:
    """Name of a tokenised split: equal only if nothing that shapes it differs."""
    parts = [FORMAT, split_fingerprint(task, split), task.kind, task.columns, task.labels]
    parts += [tokenizer_fingerprint(tokenizer), settings.head, settings.max_length]
    if settings.head == "question_answering":
        parts += [settings.doc_stride, settings.with_spans]
    if settings.is_generative:
        # The default prompt of a kind holds the dataset's name.
        prompt = [task.prompt, None if task.prompt else task.name]
        parts += [prompt, task.label_words, settings.max_target_length, tokenizer.eos_token_id]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """SHA-256 of a tokenizer's vocabulary and rules, whatever was tokenised before."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    state = {"vocab": tokenizer.get_vocab()} if backend is None else json.loads(backend.to_str())
    # Calls leave their truncation and padding behind; they are ours to give, not the tokenizer's.
    state["truncation"] = state["padding"] = None
    state["inputs"] = [type(tokenizer).__name__, list(tokenizer.model_input_names)]
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def tokenize(
    task: TaskSpec, split: str, tokenizer: Any, settings: FeatureSettings
) -> TokenizedSplit:
    """Read, check and tokenise one split.

    Args:
        task: The dataset.
        split: Name of the split.
        tokenizer: A Hugging Face tokenizer.
        settings: Head and lengths.

    Returns:
        The tokenised rows.

    Raises:
        DataError: When the split cannot be read or does not fit task and head.
    """
    table = read_split(task, split)
    check_split(table, task, split)
    return make_features(table, task, tokenizer, settings)


def _read(path: Path) -> TokenizedSplit | None:
    try:
        with np.load(path) as stored:
            parts = {tuple(name.split(".")): stored[name] for name in stored.files}
        names = [name for part, name in parts if part == _VALUES]
        return TokenizedSplit(
            ragged={name: Ragged(parts[_VALUES, name], parts[_OFFSETS, name]) for name in names},
            fixed={name: array for (part, name), array in parts.items() if part == _FIXED},
        )
    except (FileNotFoundError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
        # Missing, or damaged from outside (we write atomically): tokenise again.
        return None


def _write(tokenized: TokenizedSplit, path: Path) -> None:
    arrays = {f"{_FIXED}.{name}": array for name, array in tokenized.fixed.items()}
    for name, column in tokenized.ragged.items():
        arrays[f"{_VALUES}.{name}"] = column.values
        arrays[f"{_OFFSETS}.{name}"] = column.offsets
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
        np.savez(file, allow_pickle=False, **arrays)
    os.replace(file.name, path)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

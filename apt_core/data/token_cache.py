"""Tokenised splits on disk: one file per (content, columns, tokenizer, length), shared by all."""

import fcntl
import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from apt_core.data.sources import check_split, read_split, split_fingerprint
from apt_core.data.tasks import TaskSpec

FORMAT = 1
"""Raised when the layout of the files changes."""
CHUNK = 1000
IntArray = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class TokenizedSplit:
    """Token ids of all rows, end to end, with each row's place."""

    columns: dict[str, IntArray]
    """``input_ids`` and, when the tokenizer gives them, ``token_type_ids``: flat."""
    offsets: IntArray
    """Row i is ``[offsets[i] : offsets[i + 1]]`` of every column."""
    labels: IntArray

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return len(self.labels)

    @property
    def lengths(self) -> IntArray:
        """Tokens of every row."""
        return np.diff(self.offsets)

    def length_of(self, row: int) -> int:
        """Tokens of one row."""
        return int(self.offsets[row + 1] - self.offsets[row])


def load_tokenized(
    task: TaskSpec, split: str, tokenizer: Any, *, max_length: int, cache_dir: Path
) -> TokenizedSplit:
    """Read a tokenised split from the cache, or tokenise it and leave it there.

    Args:
        task: The dataset.
        split: Name of the split.
        tokenizer: A Hugging Face tokenizer.
        max_length: Longer rows are cut.
        cache_dir: Folder that trials and workers share. Of several at once one works, the others
            wait for it.

    Returns:
        The tokenised rows, in the order of the dataset.

    Raises:
        DataError: When the split cannot be read or does not fit the task.
    """
    key = cache_key(task, split, tokenizer, max_length)
    path = cache_dir / "tokens" / f"{key}.npz"
    cached = _read(path)
    if cached is not None:
        return cached
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.with_suffix(".lock")):
        cached = _read(path)
        if cached is not None:
            return cached
        tokenized = tokenize(task, split, tokenizer, max_length)
        _write(tokenized, path)
        return tokenized


def cache_key(task: TaskSpec, split: str, tokenizer: Any, max_length: int) -> str:
    """Name of a tokenised split: equal only if nothing that shapes it differs."""
    parts = [FORMAT, split_fingerprint(task, split), task.columns, task.num_labels]
    parts += [tokenizer_fingerprint(tokenizer), max_length]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """SHA-256 of a tokenizer's vocabulary and rules, whatever was tokenised before."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    state = {"vocab": tokenizer.get_vocab()} if backend is None else json.loads(backend.to_str())
    # Calls leave their truncation and padding behind; they are ours to give, not the tokenizer's.
    state["truncation"] = state["padding"] = None
    state["inputs"] = [type(tokenizer).__name__, list(tokenizer.model_input_names)]
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def tokenize(task: TaskSpec, split: str, tokenizer: Any, max_length: int) -> TokenizedSplit:
    """Read, check and tokenise one split.

    Args:
        task: The dataset.
        split: Name of the split.
        tokenizer: A Hugging Face tokenizer.
        max_length: Longer rows are cut, of a pair the longer text first.

    Returns:
        The tokenised rows.

    Raises:
        DataError: When the split cannot be read or does not fit the task.
    """
    table = read_split(task, split)
    check_split(table, task, split)
    texts = [table[name].to_pylist() for name in task.text_columns]
    rows: dict[str, list[list[int]]] = {}
    for start in range(0, table.num_rows, CHUNK):
        chunk = [column[start : start + CHUNK] for column in texts]
        encoded = tokenizer(*chunk, truncation=True, max_length=max_length)
        for name in ("input_ids", "token_type_ids"):
            if name in encoded:
                rows.setdefault(name, []).extend(encoded[name])
    lengths = [len(row) for row in rows["input_ids"]]
    return TokenizedSplit(
        columns={name: np.concatenate(column).astype(np.int32) for name, column in rows.items()},
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        labels=table[task.label_column].to_numpy().astype(np.int64),
    )


def _read(path: Path) -> TokenizedSplit | None:
    try:
        with np.load(path) as stored:
            arrays = {name: stored[name] for name in stored.files}
        return TokenizedSplit(
            offsets=arrays.pop("offsets"), labels=arrays.pop("labels"), columns=arrays
        )
    except (FileNotFoundError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
        # Missing, or damaged from outside (we write atomically): tokenise again.
        return None


def _write(tokenized: TokenizedSplit, path: Path) -> None:
    arrays = {**tokenized.columns, "offsets": tokenized.offsets, "labels": tokenized.labels}
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
        np.savez(file, allow_pickle=False, **arrays)
    os.replace(file.name, path)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

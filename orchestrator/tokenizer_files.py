"""Does a tokenizer fit its model? Read from files with the standard library, before a start."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from apt_core.errors import UnsupportedModelError


def check_tokenizer(folder: Path, vocab_size: int, field: str) -> None:
    """Check that every token has a row in the model's embedding.

    Args:
        folder: The model's folder.
        vocab_size: Rows of the embedding.
        field: Field path for messages.

    Raises:
        UnsupportedModelError: If `tokenizer.json` or `vocab.txt` has a higher id, or the former is
            not JSON. Tokenizers in other formats are checked when they are loaded.
    """
    highest = max(_token_ids(folder, field), default=-1)
    if highest >= vocab_size:
        raise UnsupportedModelError(
            f"{field}: the tokenizer in {folder} does not fit the model: its ids go up to "
            f"{highest}, the embedding has {vocab_size} rows; put the model's own tokenizer there"
        )


def _token_ids(folder: Path, field: str) -> Iterator[int]:
    file = folder / "tokenizer.json"
    if file.is_file():
        try:
            contents = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UnsupportedModelError(
                f"{field}: {file} is not JSON ({error}); copy it again"
            ) from error
        yield from _ids_in(contents)
    elif (folder / "vocab.txt").is_file():
        with (folder / "vocab.txt").open(encoding="utf-8") as lines:
            yield sum(1 for _ in lines) - 1


def _ids_in(contents: Any) -> Iterator[int]:
    """Ids of a `tokenizer.json`: a table of words, or a list whose places are the ids."""
    if not isinstance(contents, dict):
        return
    vocabulary = (contents.get("model") or {}).get("vocab") or {}
    yield from vocabulary.values() if isinstance(vocabulary, dict) else range(len(vocabulary))
    for token in contents.get("added_tokens") or ():
        yield int(token["id"])

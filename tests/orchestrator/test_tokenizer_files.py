"""A tokenizer whose ids the model has no rows for is told before anything starts."""

import json
from pathlib import Path
from typing import Any

import pytest

from apt_core.data.embedded import embedded_model_path
from apt_core.errors import UnsupportedModelError
from orchestrator.tokenizer_files import check_tokenizer

WORDS = {"model": {"type": "WordLevel", "vocab": {"a": 0, "b": 1, "c": 9}}}
PIECES = {"model": {"type": "Unigram", "vocab": [["a", -1.0], ["b", -2.0], ["c", -3.0]]}}
ADDED = {"model": {"vocab": {"a": 0}}, "added_tokens": [{"id": 4, "content": "<pad>"}]}


def folder_with(tmp_path: Path, contents: Any) -> Path:
    (tmp_path / "tokenizer.json").write_text(json.dumps(contents))
    return tmp_path


@pytest.mark.parametrize(("contents", "highest"), [(WORDS, 9), (PIECES, 2), (ADDED, 4)])
def test_the_highest_id_decides(tmp_path: Path, contents: Any, highest: int) -> None:
    folder = folder_with(tmp_path, contents)
    check_tokenizer(folder, highest + 1, "field")
    with pytest.raises(UnsupportedModelError, match=rf"field: .*up to {highest}.*{highest} rows"):
        check_tokenizer(folder, highest, "field")


def test_a_list_of_words_is_counted(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\nword\n")
    check_tokenizer(tmp_path, 3, "field")
    with pytest.raises(UnsupportedModelError, match="go up to 2, the embedding has 2 rows"):
        check_tokenizer(tmp_path, 2, "field")


def test_what_is_no_json_is_told(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(UnsupportedModelError, match=r"tokenizer\.json is not JSON"):
        check_tokenizer(tmp_path, 10, "field")


@pytest.mark.parametrize("contents", [{}, [], {"model": None}])
def test_a_file_that_names_no_ids_is_left_to_the_loader(tmp_path: Path, contents: Any) -> None:
    check_tokenizer(folder_with(tmp_path, contents), 0, "field")


def test_the_embedded_tokenizer_fits_its_model() -> None:
    folder = embedded_model_path("toy-roberta")
    config = json.loads((folder / "config.json").read_text())
    check_tokenizer(folder, config["vocab_size"], "field")
    with pytest.raises(UnsupportedModelError):
        check_tokenizer(folder, config["vocab_size"] - 1, "field")
